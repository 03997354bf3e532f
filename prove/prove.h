/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of baton-prove. Each takes its own arguments (argv[0] is its name) and returns the exit
 * code: 0 all held, 1 something did not, 2 not understood, 130 interrupted. */
#pragma once

struct prove_command {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *help; /* one line */
};

int prove_all(int argc, char **argv); /* all.c */
int prove_crash(int argc, char **argv);
int prove_errors(int argc, char **argv);
int torture_main(int argc, char **argv); /* prove/torture */
