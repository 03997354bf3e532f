/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: INI in the manner of systemd, FILE, every .conf in FILE.d in lexical order, and then every .conf
 * in $CREDENTIALS_DIRECTORY (what systemd lets this service alone read: LoadCredential=), read whole and checked whole before anything of it is used (reload is atomic). Data alone: opens no database, no
 * source and no destination. batond and `baton check` share it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/url.h"

#define CONFIG_FILE_DEFAULT "/etc/baton/baton.conf"
#define CONFIG_BUS_NAME_BYTES 256 /* with its NUL; D-Bus allows no more */

struct config_destination {
        const char *name, *url;
        const char *file; /* where the section begins, for messages */
        uint32_t line;
        uint32_t workers, batch_rows;
        uint64_t batch_bytes, batch_usec, parked_limit;
        bool fused, cores;
};

struct config_source {
        const char *name, *url;
        const char *file;
        uint32_t line;
        uint32_t session_first, session_count; /* its sessions, in the order of `to` */
};

struct config_session {
        const char *name;             /* as shown: "orders", or "orders/events" where there are several */
        uint32_t source, destination; /* indexes */
};

struct config {
        uint64_t stall_timeout_usec, adopt_timeout_usec;
        uint32_t sessions_max, workers_max;
        const char *bus_name; /* on the system bus; NULL: none */
        struct config_destination *destinations;
        struct config_source *sources;
        struct config_session *sessions;
        uint32_t destination_count, source_count, session_count;
        struct config_chunk *arena; /* owns every text and array above; opaque */
};

/* Reads and checks the file and its drop-ins. 0 and *ret_config (config_free()), or -errno and a sentence
 * with file, line, key and the nearest valid one. Every URL has passed url_parse() and option_check(). */
int config_load(const char *path, struct config **ret_config, struct failure *ret_failure);
/* The same of that file and nothing else: of what config_write() wrote, which is the whole. */
int config_load_alone(const char *path, struct config **ret_config, struct failure *ret_failure);
void config_free(struct config *config); /* NULL is accepted */
/* The same as one text, which config_load_alone() reads back; the caller frees it. 0 or -ENOMEM. */
int config_write(const struct config *config, char **ret_text);
void config_freep(struct config **config);
#define _cleanup_config_ _cleanup_(config_freep)

/* Index of the destination of that name, or UINT32_MAX. */
uint32_t config_find_destination(const struct config *config, const char *name);
/* Index of the session as shown, or UINT32_MAX. */
uint32_t config_find_session(const struct config *config, const char *name);
/* The nearest name for a message, or NULL. */
const char *config_nearest_destination(const struct config *config, const char *name);
const char *config_nearest_session(const struct config *config, const char *name);

/* ---- the keys, as data: `baton help` prints them, config_check.c reads values by them -------------- */
enum config_section { CONFIG_BATON = 0, CONFIG_DESTINATION, CONFIG_SOURCE, CONFIG_SECTION_COUNT };
enum config_type {
        CONFIG_SPAN,
        CONFIG_BYTES,
        CONFIG_NUMBER,
        CONFIG_BOOL,
        CONFIG_URL,
        CONFIG_NAMES,
        CONFIG_BUS_NAME
};

struct config_key {
        const char *key; /* NULL ends a table */
        enum config_type type;
        const char *default_text;  /* NULL: must be given */
        uint64_t minimum, maximum; /* SPAN in microseconds, BYTES, NUMBER; inclusive */
        const char *range_text;    /* the same for a person: "1s to 1h" */
        const char *help;
};
extern const struct config_key *const config_keys[CONFIG_SECTION_COUNT];
extern const char *const config_section_names[CONFIG_SECTION_COUNT + 1]; /* "baton", …, NULL */
