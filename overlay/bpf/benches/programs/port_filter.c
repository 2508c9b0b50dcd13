/* clang -target bpf -O2 -mcpu=v3; the section as hexadecimal slots is in the file beside this one. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct context {
    u64 data, data_end;
    u32 port, queue;
};

__attribute__((section("raw"))) int f(struct context *c) {
  u8 *data=(u8*)(long)c->data,*end=(u8*)(long)c->data_end;
  u8 *ip=data+14;
  if (ip+20>end) return 0;
  if (*(u16*)(data+12)!=0x0008) return 2;
  if (ip[9]!=6 && ip[9]!=17) return 2;
  if (*(u16*)(ip+6)&0xff1f) return 2;
  u8 *p = ip+(ip[0]&15)*4;
  if (p+4>end) return 0;
  return *(u16*)(p+2)==0x3930 ? 1:2;
}
