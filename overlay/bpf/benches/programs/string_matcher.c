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
  for (u32 i=0;i<2000;i++) { u8*at=data+i; if (at+8>end) break;
   if (at[0]=='l'&&at[1]=='e'&&at[2]=='e'&&at[3]=='t'&&at[4]=='c'&&at[5]=='o'&&at[6]=='d'&&at[7]=='e') return 1; }
  return 2;
}
