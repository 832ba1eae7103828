/* A libnvidia-ml.so.1 with two GPUs, for the real binding to load. STUB_INIT: error code of nvmlInit; STUB_LOST: GPU 1 is lost;
   STUB_OLD: no energy counter. Values differ by GPU so that a mix-up shows. */
#include <stdlib.h>
#include <string.h>
typedef int R;
typedef int *D;
struct use { unsigned gpu, memory; };
static int gpu[2] = {0, 1};
static int lost(D d) { return *d == 0 && getenv("STUB_LOST") != NULL; }
#define REPLY(out, value) do { if (lost(d)) return 15; *(out) = (value); return 0; } while (0)
R nvmlInitWithFlags(unsigned f) { (void)f; return getenv("STUB_INIT") ? atoi(getenv("STUB_INIT")) : 0; }
R nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
R nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(R r) { return r == 15 ? "GPU is lost" : r == 3 ? "Not Supported" : "stub error"; }
R nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
R nvmlDeviceGetHandleByIndex_v2(unsigned i, D *d) { if (i > 1) return 2; *d = &gpu[i]; return 0; }
R nvmlDeviceGetPowerUsage(D d, unsigned *mw) { REPLY(mw, 250500 + 100000 * *d); }
R nvmlDeviceGetTotalEnergyConsumption(D d, unsigned long long *mj) { if (getenv("STUB_OLD")) return 3; REPLY(mj, 7200000ULL); }
R nvmlDeviceGetTemperature(D d, int sensor, unsigned *c) { (void)sensor; REPLY(c, 61 + *d); }
R nvmlDeviceGetUtilizationRates(D d, struct use *u) { if (lost(d)) return 15; u->gpu = 87; u->memory = 40; return 0; }
R nvmlDeviceGetClockInfo(D d, int which, unsigned *mhz) { REPLY(mhz, which == 1 ? 1410 : 0); }
R nvmlDeviceGetEnforcedPowerLimit(D d, unsigned *mw) { REPLY(mw, 400000); }
