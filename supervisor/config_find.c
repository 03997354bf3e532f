/* SPDX-License-Identifier: Apache-2.0 */
/* Finds destinations and sessions of a configuration by name, and the nearest one for a message.
 * Linear: it is asked once for each word that a person typed. Pure. */
#include <string.h>

#include "base/text.h"
#include "supervisor/config.h"

uint32_t config_find_destination(const struct config *config, const char *name) {
        assert(config);
        assert(name);

        for (uint32_t i = 0; i < config->destination_count; i++)
                if (strcmp(config->destinations[i].name, name) == 0)
                        return i;
        return UINT32_MAX;
}

uint32_t config_find_session(const struct config *config, const char *name) {
        assert(config);
        assert(name);

        for (uint32_t i = 0; i < config->session_count; i++)
                if (strcmp(config->sessions[i].name, name) == 0)
                        return i;
        return UINT32_MAX;
}

const char *config_nearest_destination(const struct config *config, const char *name) {
        _cleanup_free_ const char **names = NULL;

        names = calloc(config->destination_count + 1, sizeof *names);
        if (!names)
                return NULL;
        for (uint32_t i = 0; i < config->destination_count; i++)
                names[i] = config->destinations[i].name;
        return text_nearest(name, names);
}

const char *config_nearest_session(const struct config *config, const char *name) {
        _cleanup_free_ const char **names = NULL;

        names = calloc(config->session_count + 1, sizeof *names);
        if (!names)
                return NULL;
        for (uint32_t i = 0; i < config->session_count; i++)
                names[i] = config->sessions[i].name;
        return text_nearest(name, names);
}
