/* metrics_process.c -- what every role tells about itself: version, CPU, memory, files, log. */
#include "lib/base/metrics.h"

#include "lib/base/log.h"
#include "lib/base/version.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const struct metric build_info = {"drawbridge_build_info", METRIC_GAUGE,
                                         "1; its labels say what runs here.", 0, 1};
static const struct metric cpu = {"process_cpu_seconds_total", METRIC_COUNTER,
                                  "User and system CPU time spent in seconds.", 0, 1};
static const struct metric memory = {"process_resident_memory_bytes", METRIC_GAUGE,
                                     "Resident memory size in bytes.", 0, 1};
static const struct metric files = {"process_open_fds", METRIC_GAUGE,
                                    "Number of open file descriptors.", 0, 1};
static const struct metric files_max = {"process_max_fds", METRIC_GAUGE,
                                        "Maximum number of open file descriptors.", 0, 1};
static const struct metric lines = {"drawbridge_log_lines_total", METRIC_COUNTER,
                                    "Log lines by level, repeated ones too.", 0, 1};
static const struct metric lost = {"drawbridge_log_lost_lines_total", METRIC_COUNTER,
                                   "Log lines that could not be written.", 0, 1};

static double cpu_seconds(void) {
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) return 0;
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    unsigned long long all = 0, resident = 0;
    int got = fscanf(file, "%llu %llu", &all, &resident);
    fclose(file);
    return got == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double open_files(void) {
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) return 0;
    int count = 0;
    while (readdir(dir)) count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the folder itself */
}

void metrics_add_process(struct metrics *metrics, const char *role) {
    struct rlimit limit;
    metrics_add(metrics, &build_info, 1, METRIC_LABEL("role", role),
                METRIC_LABEL("version", DRAWBRIDGE_VERSION), METRIC_LABELS_END);
    metrics_add(metrics, &cpu, cpu_seconds(), METRIC_LABELS_END);
    metrics_add(metrics, &memory, resident_bytes(), METRIC_LABELS_END);
    metrics_add(metrics, &files, open_files(), METRIC_LABELS_END);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics_add(metrics, &files_max, (double)limit.rlim_cur, METRIC_LABELS_END);
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    for (int i = LOG_LEVEL_INFO; i <= LOG_LEVEL_ERROR; i++)
        metrics_add(metrics, &lines, (double)log_count((enum log_level)i),
                    METRIC_LABEL("level", levels[i]), METRIC_LABELS_END);
    metrics_add(metrics, &lost, (double)log_lost(), METRIC_LABELS_END);
}
