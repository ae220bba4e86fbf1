/* yaml.h -- a YAML file into an option table, by dotted path.
 *
 *     gates: { lag: 200ms }       sets the option "gates.lag"
 *
 * Mappings and plain or quoted scalars only: no lists, anchors, aliases or tags, one document, 16
 * levels, 256 KB. A mapping at a bool option ("tls: { ca: ... }", also "tls: {}") sets it to true.
 * A null value leaves the default. Whether required options are there is for options_check() to
 * say. Errors carry their place: "bridge.yaml:7:3: gates.lagg: there is no such option; did you
 * mean gates.lag?"
 */
#ifndef LIB_BASE_YAML_H
#define LIB_BASE_YAML_H

#include "lib/base/options.h"

/* BASE holds the defaults (options_default). SEEN has options->count entries and learns what was
 * given. On failure BASE is partly filled: close it. */
MUST_CHECK enum err yaml_read_file(const char *path, const struct options *options, void *base,
                                   bool *seen, struct why *why);
/* The same from memory; NAME stands for the path in messages. */
MUST_CHECK enum err yaml_read(struct slice text, const char *name, const struct options *options,
                              void *base, bool *seen, struct why *why);

/* The example file: every option with its help as a comment, its default, bounds and unit. */
void yaml_write_example(const struct options *options, struct buf *out);

#endif
