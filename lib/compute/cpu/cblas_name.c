/* cblas_name.c - which CBLAS does the products, and with how many threads: its bits hang on both. Libraries that do not
 * say are "cblas"; the functions asked are OpenBLAS's and are looked for weakly. */
#include <stdio.h>
#include <string.h>

#include "compute/compute.h"

#if defined(__GNUC__) && defined(__ELF__)
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

void dk_backend_cblas(char *out, size_t size)
{
    const char *config = openblas_get_config ? openblas_get_config() : "cblas",
               *core = openblas_get_corename ? openblas_get_corename() : "";
    int words = 0, length = 0;
    /* "OpenBLAS 0.3.21" of a long line of flags */
    while (config[length] && !(config[length] == ' ' && ++words == 2)) length++;
    snprintf(out, size, "%.*s%s%s, %d threads", length, config, *core ? " " : "", core,
             openblas_get_num_threads ? openblas_get_num_threads() : 0);
}
#else
void dk_backend_cblas(char *out, size_t size) { snprintf(out, size, "cblas"); }
#endif
