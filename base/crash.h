/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered crash points: "we die here", on demand. CRASH_POINT("journal.K2") is nothing in a package
 * build; in a build with CRASH=1 it kills the process with SIGKILL when BATON_CRASH names it
 * ("journal.K2", or "journal.K2:3" for the third pass of it in this process). */
#pragma once

#ifdef BATON_CRASH_POINTS
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void) 0)
#endif
