/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration as text that config_load() reads back as the very same: each key written out, in the units in which
 * it is held, sections in their order. Only where it came from (files, lines, drop-ins, comments) is lost.
 * Pure. Values came out of config_load(), so none holds what its reader would cut or refuse. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "supervisor/config.h"

static const char *yes_or_no(bool value) {
        return value ? "yes" : "no";
}

static void write_destination(const struct config_destination *destination, FILE *out) {
        fprintf(out, "\n[destination %s]\nurl = %s\nworkers = %" PRIu32 "\n", destination->name,
                destination->url, destination->workers);
        fprintf(out, "batch-rows = %" PRIu32 "\nbatch-bytes = %" PRIu64 "\nbatch-time = %" PRIu64 "us\n",
                destination->batch_rows, destination->batch_bytes, destination->batch_usec);
        fprintf(out, "parked-limit = %" PRIu64 "\nfused = %s\ncores = %s\n", destination->parked_limit,
                yes_or_no(destination->fused), yes_or_no(destination->cores));
}

static void write_source(const struct config *config, const struct config_source *source, FILE *out) {
        fprintf(out, "\n[source %s]\nurl = %s\nto = ", source->name, source->url);
        for (uint32_t i = 0; i < source->session_count; i++)
                fprintf(out, "%s%s", i > 0 ? ", " : "",
                        config->destinations[config->sessions[source->session_first + i].destination].name);
        fputs("\n", out);
}

int config_write(const struct config *config, char **ret_text) {
        _cleanup_free_ char *text = NULL;
        size_t bytes = 0;
        FILE *out;
        bool failed;

        assert(config);
        assert(ret_text);

        out = open_memstream(&text, &bytes);
        if (!out)
                return -ENOMEM;
        fprintf(out, "[baton]\nstall-timeout = %" PRIu64 "us\nadopt-timeout = %" PRIu64 "us\n",
                config->stall_timeout_usec, config->adopt_timeout_usec);
        fprintf(out, "sessions = %" PRIu32 "\nmax-workers = %" PRIu32 "\n", config->sessions_max,
                config->workers_max);
        fprintf(out, "bus-name = %s\n", config->bus_name ? config->bus_name : "no");
        for (uint32_t i = 0; i < config->destination_count; i++)
                write_destination(&config->destinations[i], out);
        for (uint32_t i = 0; i < config->source_count; i++)
                write_source(config, &config->sources[i], out);
        failed = ferror(out) != 0;
        failed |= fclose(out) != 0;
        if (failed)
                return -ENOMEM;
        *ret_text = TAKE(text);
        return 0;
}
