/*
 * A module of ipmi_sim (its "loadlib" hook): what a server's BMC has beyond the simulator's own commands.
 *
 *   Master Write-Read   (App 52h): PMBus supplies on the private bus; an address where none is gives 83h (NAK on write)
 *   DCMI power          (group DCh, commands 02h to 05h): reading, get limit, set limit, activate
 *   chassis power       (Chassis 01h and 02h): on, off and soft
 *
 * The option is a folder. FOLDER/supplies.txt holds the registers, one a line: address, command, bytes, all hexadecimal;
 * it is read anew at each request. FOLDER/state.txt holds the power limit and the chassis' power, and outlives a crash.
 *
 * Sources: IPMI 2.0 (22.11 Master Write-Read, 28.2 and 28.3 chassis), DCMI 1.5 (6.6.1 to 6.6.4), SMBus 2.0 (PEC).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <OpenIPMI/mcserv.h>

#define NETFN_APP 0x06
#define MASTER_WRITE_READ 0x52
#define DCMI_GROUP 0xdc
#define READ_PIN 0x97

enum { OK = 0x00, NO_ACTIVE_LIMIT = 0x80, NAK = 0x83, LIMIT_RANGE = 0x84, CORRECTION_RANGE = 0x85,
       SAMPLING_RANGE = 0x89, UNKNOWN_COMMAND = 0xc1, WRONG_LENGTH = 0xc7 };
enum { LOWEST_LIMIT_W = 100, HIGHEST_LIMIT_W = 2000, SHORTEST_CORRECTION_MS = 500 };

typedef struct { int length; unsigned char bytes[32]; } reg_t;

static char supplies_path[512], state_path[512];
static reg_t registers[128][256];
static int present[128];
static unsigned limit_w = 0, limit_active = 0, action = 0, correction_ms = 1000, sampling_s = 1, power_on = 1;

static void load_supplies(void) {
  char line[256];
  FILE *file = fopen(supplies_path, "r");
  memset(present, 0, sizeof present);
  memset(registers, 0, sizeof registers);
  if (!file) return;
  while (fgets(line, sizeof line, file)) {
    char *at = line;
    unsigned long address = strtoul(at, &at, 16), command = strtoul(at, &at, 16);
    if (address > 127 || command > 255) continue;
    reg_t *reg = &registers[address][command];
    for (char *next; reg->length < 32; at = next) {
      unsigned long byte = strtoul(at, &next, 16);
      if (next == at) break;
      reg->bytes[reg->length++] = (unsigned char) byte;
    }
    present[address] = 1;
  }
  fclose(file);
}

static void load_state(void) {
  FILE *file = fopen(state_path, "r");
  if (!file) return;
  if (fscanf(file, "%u %u %u %u %u %u", &limit_w, &limit_active, &action, &correction_ms, &sampling_s, &power_on) != 6)
    fprintf(stderr, "state.txt is not whole\n");
  fclose(file);
}

static void save_state(void) {
  char fresh[sizeof state_path + 8];
  snprintf(fresh, sizeof fresh, "%s.new", state_path);
  FILE *file = fopen(fresh, "w");
  if (!file) return;
  fprintf(file, "%u %u %u %u %u %u\n", limit_w, limit_active, action, correction_ms, sampling_s, power_on);
  fclose(file);
  rename(fresh, state_path);
}

static unsigned char crc8(unsigned char crc, unsigned char byte) {
  crc ^= byte;
  for (int bit = 0; bit < 8; bit++) crc = (unsigned char) (crc & 0x80 ? crc << 1 ^ 0x07 : crc << 1);
  return crc;
}

/* Request: bus, address with the write bit, read count, bytes to write (the command first). */
static void master_write_read(lmc_data_t *mc, msg_t *msg, unsigned char *out, unsigned int *out_length, void *data) {
  (void) mc; (void) data;
  *out_length = 1;
  if (msg->len < 4 || msg->data[2] > 64) { out[0] = WRONG_LENGTH; return; }
  load_supplies();
  unsigned char address = msg->data[1] >> 1, count = msg->data[2], command = msg->data[3];
  const reg_t *reg = &registers[address][command];
  if (!present[address] || !reg->length) { out[0] = NAK; return; }
  unsigned char crc = crc8(crc8(crc8(0, msg->data[1]), command), (unsigned char) (msg->data[1] | 1));
  for (int i = 0; i < reg->length; i++) crc = crc8(crc, reg->bytes[i]);
  out[0] = OK;
  for (int i = 0; i < count; i++) /* a supply sends its packet error code to who goes on clocking, then the bus floats */
    out[1 + i] = i < reg->length ? reg->bytes[i] : i == reg->length ? crc : 0xff;
  *out_length = 1u + count;
}

static void put16(unsigned char *at, unsigned value) { at[0] = value & 0xff; at[1] = value >> 8 & 0xff; }
static void put32(unsigned char *at, unsigned value) { put16(at, value); put16(at + 2, value >> 16); }

/* What goes into the node: the supplies' READ_PIN (LINEAR11) together; -1 where none of them says it. */
static int input_power_w(void) {
  double sum = 0;
  int found = 0;
  for (int address = 0; address < 128; address++) {
    const reg_t *reg = &registers[address][READ_PIN];
    if (reg->length != 2) continue;
    int word = reg->bytes[0] | reg->bytes[1] << 8, exponent = word >> 11, mantissa = word & 0x7ff;
    if (exponent > 15) exponent -= 32;
    if (mantissa > 1023) mantissa -= 2048;
    sum += exponent < 0 ? mantissa / (double) (1 << -exponent) : mantissa * (double) (1 << exponent);
    found = 1;
  }
  return found ? (int) (sum + 0.5) : -1;
}

static unsigned int power_reading(unsigned char *out) {
  load_supplies();
  int power_w = input_power_w(), shown = power_w < 0 ? 0 : power_w;
  memset(out + 2, 0, 17);
  put16(out + 2, (unsigned) shown);
  put16(out + 4, (unsigned) (shown * 9 / 10));
  put16(out + 6, (unsigned) (shown * 11 / 10));
  put16(out + 8, (unsigned) shown);
  put32(out + 14, 1000);
  out[18] = power_w < 0 ? 0x00 : 0x40; /* bit 6: power measurement active */
  return 19;
}

static unsigned int get_limit(unsigned char *out) {
  out[0] = limit_active ? OK : NO_ACTIVE_LIMIT;
  memset(out + 2, 0, 13);
  out[4] = (unsigned char) action;
  put16(out + 5, limit_w);
  put32(out + 7, correction_ms);
  put16(out + 13, sampling_s);
  return 15;
}

static unsigned char set_limit(const unsigned char *in, unsigned int length) {
  if (length < 15) return WRONG_LENGTH;
  unsigned watts = in[5] | in[6] << 8, period_s = in[13] | in[14] << 8;
  unsigned correction = in[7] | in[8] << 8 | in[9] << 16 | (unsigned) in[10] << 24;
  if (watts < LOWEST_LIMIT_W || watts > HIGHEST_LIMIT_W) return LIMIT_RANGE;
  if (correction < SHORTEST_CORRECTION_MS) return CORRECTION_RANGE;
  if (period_s < 1) return SAMPLING_RANGE;
  limit_w = watts; action = in[4]; correction_ms = correction; sampling_s = period_s;
  save_state();
  return OK;
}

static void dcmi(lmc_data_t *mc, msg_t *msg, unsigned char *out, unsigned int *out_length, void *data) {
  (void) mc; (void) data;
  out[0] = OK;
  out[1] = DCMI_GROUP;
  *out_length = 2;
  if (msg->cmd == 0x02) *out_length = power_reading(out);
  else if (msg->cmd == 0x03) *out_length = get_limit(out);
  else if (msg->cmd == 0x04) out[0] = set_limit(msg->data, msg->len);
  else if (msg->cmd == 0x05 && msg->len >= 2) { limit_active = msg->data[1] & 1; save_state(); }
  else { out[0] = UNKNOWN_COMMAND; *out_length = 1; }
}

static int set_chassis(lmc_data_t *mc, int operation, unsigned char *value, void *data) {
  (void) mc; (void) data;
  if (operation == CHASSIS_CONTROL_POWER) power_on = *value;
  else if (operation == CHASSIS_CONTROL_GRACEFUL_SHUTDOWN) power_on = 0;
  else return -1;
  save_state();
  return 0;
}

static int get_chassis(lmc_data_t *mc, int operation, unsigned char *value, void *data) {
  (void) mc; (void) data;
  if (operation != CHASSIS_CONTROL_POWER) return -1;
  *value = (unsigned char) power_on;
  return 0;
}

int ipmi_sim_module_print_version(sys_data_t *sys, const char *options) {
  (void) sys; (void) options;
  puts("psu_module");
  return 0;
}

int ipmi_sim_module_init(sys_data_t *sys, const char *options) {
  snprintf(supplies_path, sizeof supplies_path, "%s/supplies.txt", options);
  snprintf(state_path, sizeof state_path, "%s/state.txt", options);
  load_state();
  ipmi_emu_register_cmd_handler(NETFN_APP, MASTER_WRITE_READ, master_write_read, NULL);
  ipmi_emu_register_group_extension_handler(DCMI_GROUP, dcmi, NULL);
  ipmi_mc_set_chassis_control_func(sys->mc, set_chassis, get_chassis, NULL);
  return 0;
}
