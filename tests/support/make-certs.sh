#!/bin/sh
# make-certs.sh FOLDER -- certificates for tests, by openssl; valid for two days.
#
#   ca.pem ca.key              an authority
#   server.pem server.key      for localhost, 127.0.0.1 and ::1, signed by it
#   client.pem client.key      for "drawbridge", signed by it, for servers that ask clients for one
#   other.pem other.key        signed by it, but for the name other.example
#   expired.pem expired.key    as server.pem, but over since yesterday
#   stranger-ca.pem            another authority, which signed none of them
set -eu
dir=$1
mkdir -p "$dir"
cd "$dir"
umask 077

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2> /dev/null; }

authority() { # NAME FILE
    key "$2.key"
    openssl req -x509 -new -key "$2.key" -subj "/CN=$1" -days 2 -out "$2.pem" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
}

signed() { # FILE NAME ALTERNATIVES [DATES]
    key "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
    printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n' \
        "$3" > "$1.ext"
    if [ -z "${4:-}" ]; then
        openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile "$1.ext" -out "$1.pem" 2> /dev/null
    else
        # Only `openssl ca` can sign for days gone by.
        : > index.txt
        echo 01 > serial
        printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n%s\n%s\n' \
            'default_md=sha256
policy=p' '[p]
commonName=supplied' > ca.conf
        openssl ca -batch -notext -config ca.conf -in "$1.csr" -cert ca.pem -keyfile ca.key \
            -startdate 20200101000000Z -enddate "$4" -extfile "$1.ext" -out "$1.pem" 2> /dev/null
        rm -f index.txt* serial* ca.conf 01.pem
    fi
    rm -f "$1.csr" "$1.ext"
}

authority "drawbridge test authority" ca
authority "a stranger" stranger-ca
signed server localhost 'DNS:localhost,IP:127.0.0.1,IP:::1'
signed client drawbridge 'DNS:drawbridge'
signed other other.example 'DNS:other.example'
signed expired localhost 'DNS:localhost,IP:127.0.0.1,IP:::1' "$(date -u -d yesterday +%Y%m%d%H%M%SZ)"
rm -f stranger-ca.key ca.srl
