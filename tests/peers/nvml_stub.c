/* A libnvidia-ml.so.1 with two GPUs, for the real binding to load. Values differ by GPU so that a mix-up shows.
   STUB_INIT: error code of nvmlInit. STUB_LOST: the GPUs with this number (0, 1) or "all" are lost. STUB_OLD: no energy
   counter. STUB_NOROOT: nothing may be set. STUB_MIG: GPU 0 is in MIG mode. STUB_REASONS: clock event reasons.
   STUB_UTIL: utilisation in percent.
   STUB_DEAD: the driver has gone: not initialized. STUB_SLOW: reading power takes this many seconds. STUB_STATE: a file that keeps the settings, as a driver does from
   process to process. STUB_DROP: settings are taken and forgotten. -DOLD_DRIVER: without newer functions. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
typedef int R;
typedef int *D;
struct use { unsigned gpu, memory; };
struct settings { unsigned limit_mw[2], locked_mhz[2]; };
enum { DEFAULT_MW = 400000, LOW_MW = 200000, HIGH_MW = 500000, LOW_MHZ = 210, HIGH_MHZ = 1980 };
static int gpu[2] = {0, 1};
static struct settings own, *set = &own;
static int on(const char *name) { return getenv(name) != NULL; }
static R gone(D d) {
  const char *which = getenv("STUB_LOST");
  if (on("STUB_DEAD")) return 1;
  return which != NULL && (strcmp(which, "all") == 0 || atoi(which) == *d) ? 15 : 0;
}
#define REPLY(out, value) do { if (gone(d)) return gone(d); *(out) = (value); return 0; } while (0)
#define MAY_SET do { if (gone(d)) return gone(d); if (on("STUB_NOROOT")) return 4; if (on("STUB_DROP")) return 0; } while (0)
static void load(void) {
  if (on("STUB_STATE")) {
    int file = open(getenv("STUB_STATE"), O_RDWR | O_CREAT, 0600);
    if (file >= 0 && ftruncate(file, sizeof own) == 0)
      set = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
  }
  for (int i = 0; i < 2; i++) if (set->limit_mw[i] == 0) set->limit_mw[i] = DEFAULT_MW;
}
R nvmlInitWithFlags(unsigned f) { (void)f; if (on("STUB_INIT")) return atoi(getenv("STUB_INIT")); load(); return 0; }
R nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
R nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(R r) {
  return r == 15 ? "GPU is lost" : r == 4 ? "Insufficient Permissions" : r == 3 ? "Not Supported" : r == 2 ? "Invalid Argument" : "stub error";
}
R nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
R nvmlDeviceGetHandleByIndex_v2(unsigned i, D *d) { if (i > 1) return 2; *d = &gpu[i]; return 0; }
static R text(D d, char *out, unsigned room, const char *said) {
  if (gone(d)) return gone(d);
  if (room < strlen(said) + 1) return 7;
  strcpy(out, said);
  return 0;
}
R nvmlDeviceGetUUID(D d, char *out, unsigned room) { return text(d, out, room, *d ? "GPU-00000000-0000-0000-0000-000000000001" : "GPU-00000000-0000-0000-0000-000000000000"); }
R nvmlDeviceGetName(D d, char *out, unsigned room) { return text(d, out, room, "NVIDIA Stub 500W"); }
R nvmlDeviceGetPowerUsage(D d, unsigned *mw) { if (on("STUB_SLOW")) sleep(atoi(getenv("STUB_SLOW"))); REPLY(mw, 250500 + 100000 * *d); }
R nvmlDeviceGetTotalEnergyConsumption(D d, unsigned long long *mj) { if (on("STUB_OLD")) return 3; REPLY(mj, 7200000ULL); }
R nvmlDeviceGetTemperature(D d, int sensor, unsigned *c) { (void)sensor; REPLY(c, 61 + *d); }
R nvmlDeviceGetUtilizationRates(D d, struct use *u) { if (gone(d)) return gone(d); u->gpu = on("STUB_UTIL") ? (unsigned)atoi(getenv("STUB_UTIL")) : 87; u->memory = 40; return 0; }
R nvmlDeviceGetClockInfo(D d, int which, unsigned *mhz) {
  unsigned locked = set->locked_mhz[*d];
  REPLY(mhz, which == 2 ? 2619 : which != 1 ? 0 : locked && locked < 1410 ? locked : 1410);
}
R nvmlDeviceGetMaxClockInfo(D d, int which, unsigned *mhz) { REPLY(mhz, which == 1 ? HIGH_MHZ : 0); }
static R list(D d, unsigned *count, unsigned *out, unsigned a, unsigned b) {
  if (gone(d)) return gone(d);
  unsigned room = *count;
  *count = 2;
  if (room < 2) return 7;
  out[0] = a;
  out[1] = b;
  return 0;
}
R nvmlDeviceGetSupportedMemoryClocks(D d, unsigned *count, unsigned *mhz) { return list(d, count, mhz, 2619, 810); }
R nvmlDeviceGetSupportedGraphicsClocks(D d, unsigned memory_mhz, unsigned *count, unsigned *mhz) {
  return memory_mhz == 2619 ? list(d, count, mhz, HIGH_MHZ, LOW_MHZ) : 6;
}
R nvmlDeviceGetPowerManagementLimit(D d, unsigned *mw) { REPLY(mw, set->limit_mw[*d]); }
R nvmlDeviceGetEnforcedPowerLimit(D d, unsigned *mw) { REPLY(mw, set->limit_mw[*d]); }
R nvmlDeviceGetPowerManagementDefaultLimit(D d, unsigned *mw) { REPLY(mw, DEFAULT_MW); }
R nvmlDeviceGetPowerManagementLimitConstraints(D d, unsigned *low, unsigned *high) {
  if (on("STUB_OLD")) return 3;
  *high = HIGH_MW;
  REPLY(low, LOW_MW);
}
R nvmlDeviceSetPowerManagementLimit(D d, unsigned mw) {
  if (mw < LOW_MW || mw > HIGH_MW) return 2;
  MAY_SET;
  set->limit_mw[*d] = mw;
  return 0;
}
R nvmlDeviceSetGpuLockedClocks(D d, unsigned low, unsigned high) {
  if (low > high || high > HIGH_MHZ) return 2;
  MAY_SET;
  set->locked_mhz[*d] = high;
  return 0;
}
R nvmlDeviceResetGpuLockedClocks(D d) { MAY_SET; set->locked_mhz[*d] = 0; return 0; }
static R reasons(D d, unsigned long long *r) { REPLY(r, on("STUB_REASONS") ? strtoull(getenv("STUB_REASONS"), NULL, 0) : 0); }
R nvmlDeviceGetCurrentClocksThrottleReasons(D d, unsigned long long *r) { return reasons(d, r); }
#ifndef OLD_DRIVER
R nvmlDeviceGetCurrentClocksEventReasons(D d, unsigned long long *r) { return reasons(d, r); }
R nvmlDeviceGetMigMode(D d, unsigned *now, unsigned *next) { *next = 0; REPLY(now, on("STUB_MIG") && *d == 0); }
#endif
