/* Calls that work on much, and loops without an end: slow N. */
#include "guest.h"
#define C(n,a,b,c,d,e,f) syscall6(n,(u64)(a),(u64)(b),(u64)(c),(u64)(d),(u64)(e),(u64)(f))
struct iov{void*p;u64 n;};
static struct iov iov[1024];
int main(int argc,char**argv,char**envp){
  int v=atou64(argv[1]); int z=sys_open("/dev/zero",2,0), nul=sys_open("/dev/null",2,0); long r=0; int fd; int p[2];
  u8*m=(u8*)sys_mmap(0,1UL<<31,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); if(is_error((long)m)) die("mmap",-(long)m);
  u64 big=0x7ffff000;
  print("mode %d\n",v);
  for(;;) {
  switch(v){
  case 0: r=sys_write(nul,m,big); break;                      /* write 2G to null from zero page */
  case 1: r=sys_read(z,m,big); break;
  case 2: for(int i=0;i<1024;i++){iov[i].p=m;iov[i].n=1<<30;} r=C(20,nul,iov,1024,0,0,0); break; /* writev */
  case 3: for(int i=0;i<1024;i++){iov[i].p=m;iov[i].n=1<<20;} r=C(19,z,iov,1024,0,0,0); break;
  case 4: r=C(40,nul,z,0,big,0,0); break;   /* sendfile */
  case 5: fd=sys_open("/tmp/big",O_RDWR|O_CREAT,0644); sys_ftruncate(fd,1UL<<62); r=C(8,fd,0,3,0,0,0); r=C(326,fd,0,fd,0,1UL<<40,0); break; /* copy_file_range*/
  case 6: fd=sys_open("/tmp/big",O_RDWR|O_CREAT,0644); r=C(285,fd,0,0,1UL<<62,0,0); break;  /* fallocate */
  case 7: m=(u8*)sys_mmap(0,1UL<<46,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); for(u64 o=0;o<1UL<<46;o+=1UL<<30) C(28,m+o,1UL<<30,4,0,0,0); r=sys_munmap((u64)m,1UL<<46); break;
  case 8: m=(u8*)sys_mmap(0,1UL<<46,1,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); r=C(27,m,1UL<<46,m,0,0,0); break; /* mincore */
  case 9: m=(u8*)sys_mmap(0,1UL<<46,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); r=C(28,m,1UL<<46,22,0,0,0); break; /* populate read */
  case 10: m=(u8*)sys_mmap(0,1UL<<46,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|0x8000,-1,0); r=(long)m; break; /* MAP_POPULATE */
  case 11: fd=sys_open("/proc/self/pagemap",0,0); sys_mmap(0,1UL<<46,1,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); r=sys_pread(fd,m,big&~7UL,0); break;
  case 12: for(u64 i=0;i<60000;i++) sys_mmap(0x100000000+i*8192,4096,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED|MAP_NORESERVE,-1,0); r=sys_fork(); if(!r) sys_exit_group(0); sys_wait4(-1,NULL,0); fd=sys_open("/proc/self/smaps",0,0); r=sys_read(fd,m,1<<28); sys_close(fd); break;
  case 13: sys_pipe2(p,0); C(72,p[0],1031,1<<20,0,0,0); r=sys_fork(); if(!r){ for(;;) sys_read(p[0],m,1<<30);} r=sys_write(p[1],m,big); break;
  case 14: { char**a=(char**)m; static char s[131000]; memset(s,'a',sizeof s-1); int i; for(i=0;i<15;i++) a[i]=s; a[i]=0; r=C(59,"/bin/slow",a,a,0,0,0); } break;
  case 15: { char**a=(char**)m; for(u64 i=0;i<1UL<<27;i++) a[i]="x"; r=C(59,"/bin/slow",a,a,0,0,0);} break;
  case 16: r=C(310,sys_getpid(),iov,1024,iov,1024,0); for(int i=0;i<1024;i++){iov[i].p=m;iov[i].n=1<<30;} r=C(310,sys_getpid(),iov,1024,iov,1024,0); break;
  case 17: r=C(318,m,big,0,0,0,0); break; /* getrandom */
  case 18: fd=sys_open("/tmp/h",O_RDWR|O_CREAT,0644); sys_ftruncate(fd,1UL<<45); { u8*q=(u8*)sys_mmap(0,1UL<<45,3,1,fd,0); for(u64 o=0;o<1UL<<45;o+=1UL<<33) q[o]=1; r=C(26,q,1UL<<45,4,0,0,0); sys_ftruncate(fd,0);} break;
  case 19: fd=sys_open("/tmp/h",O_RDWR|O_CREAT,0644); C(285,fd,0,0,100<<20,0,0); r=C(8,fd,0,4,0,0,0); break; /* SEEK_HOLE*/
  case 20: m=(u8*)sys_mmap(0,1UL<<46,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); r=C(149,m,1UL<<46,0,0,0,0); break;
  case 21: m=(u8*)sys_mmap(0,1UL<<45,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); for(u64 o=0;o<1UL<<45;o+=1UL<<30) m[o]=1; r=C(25,m,1UL<<45,1UL<<45,3,1UL<<40,0); break;
  case 22: m=(u8*)sys_mmap(0,1UL<<46,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); for(u64 o=0;o<1UL<<46;o+=1UL<<31) m[o]=1; r=sys_fork(); if(!r) sys_exit_group(0); C(10,m,1UL<<46,1,0,0,0); r=C(10,m,1UL<<46,3,0,0,0); break;
  case 23: {u64 ts[2]={1UL<<40,0}; r=C(35,ts,0,0,0,0,0);}; break; /* nanosleep */
  case 24: for(;;) {} break;
  case 25: for(;;) sys_getpid(); break;
  case 26: __asm__ volatile("mov $0x7fffffffffff,%%rcx; mov %0,%%rdi; 1: mov %0,%%rdi; mov $0x70000000,%%ecx; rep stosb; jmp 1b"::"r"(m):"rcx","rdi","rax","memory"); break;
  case 27: __asm__ volatile("1: mov $0x7fffffffffffffff,%%rcx; xor %%edi,%%edi; mov %0,%%rsi; std; lodsb; cld; rep lodsb; jmp 1b"::"r"(m):"rcx","rdi","rax","rsi","memory"); break;
  case 28: { u8*q=(u8*)sys_mmap(0,4096,7,MAP_PRIVATE|MAP_ANONYMOUS,-1,0); for(;;){ q[0]=0xc3; ((void(*)(void))q)(); q[0]=0x90; q[1]=0xc3; ((void(*)(void))q)(); } } break;
  case 29: { for(;;){ u8*q=(u8*)sys_mmap(0,1<<20,7,MAP_PRIVATE|MAP_ANONYMOUS,-1,0); for(int i=0;i<1<<20;i+=4096){ q[i]=0xc3; ((void(*)(void))(q+i))(); } sys_munmap((u64)q,1<<20);} } break;
  case 30: for(;;){ long pid=sys_fork(); if(pid<0) sys_wait4(-1,NULL,0);  } break;   /* fork bomb */
  case 31: for(;;){ static char n[]="/tmp/f00000000"; static u64 k; u64 x=k++; for(int i=13;i>5;i--){n[i]='a'+(x&15);x>>=4;} fd=sys_open(n,O_RDWR|O_CREAT,0600); if(fd<0){ print("%d after %lu\n",-fd,k); for(;;) sys_sched_yield(); } sys_close(fd);} break;
  case 32: { static char t[4096]; memset(t,'x',4095); for(u64 k=0;;k++){ static char n[]="/tmp/s00000000"; u64 x=k; for(int i=13;i>5;i--){n[i]='a'+(x&15);x>>=4;} t[0]='a'+k%26; r=C(88,t,n,0,0,0,0); if(r<0){ print("symlink %ld after %lu\n",r,k); for(;;) sys_sched_yield();} } } break;
  case 33: { for(u64 k=0;;k++){ static char n[]="/m00000000"; u64 x=k; for(int i=9;i>1;i--){n[i]='a'+(x&15);x>>=4;} C(83,n,0777,0,0,0,0); r=C(165,"t",n,"tmpfs",0,"nr_inodes=0",0); if(r<0){print("mount %ld after %lu\n",r,k); for(;;) sys_sched_yield();} } } break;
  case 34: { static char t[4096]; memset(t,'x',4095); C(83,"/m",0777,0,0,0,0); r=C(165,"t","/m","tmpfs",0,"nr_inodes=0",0); print("mount %ld\n",r); for(u64 k=0;;k++){ static char n[]="/m/s00000000"; u64 x=k; for(int i=11;i>3;i--){n[i]='a'+(x&15);x>>=4;} t[0]='a'+k%26; t[1]='a'+k/26%26; r=C(88,t,n,0,0,0,0); if(r<0){ print("symlink %ld after %lu\n",r,k); for(;;) sys_sched_yield();} } } break;
  case 35: { for(u64 k=0;;k++){ r=C(83,"d",0777,0,0,0,0); if(k==0) C(80,"/tmp",0,0,0,0,0); r=C(83,"d",0777,0,0,0,0); r|=C(80,"d",0,0,0,0,0); if(r<0){ print("mkdir %ld after %lu\n",r,k); r=C(79,m,1<<20,0,0,0,0); print("getcwd %ld\n",r); sys_exit_group(0);} } } break;
  case 36: { for(u64 k=0;;k++){ static char n[]="/sys/fs/mshare/s00000000"; u64 x=k; for(int i=23;i>15;i--){n[i]='a'+(x&15);x>>=4;} fd=sys_open(n,O_RDWR|O_CREAT,0600); if(fd<0){print("mshare %d after %lu\n",-fd,k); for(;;) sys_sched_yield();} r=sys_ftruncate(fd,1UL<<30); sys_close(fd);} } break;
  case 37: { for(u64 k=0;;k++) { r=C(56,0x50f00,(u64)m+((k+1)<<12),0,0,0,0); if(r==0) for(;;) C(34,0,0,0,0,0,0); if(r<0){print("clone %ld after %lu\n",r,k); for(;;) sys_sched_yield();} } } break;
  case 38: { for(u64 k=0;;k++){ r=sys_mmap(0x100000000+k*8192,4096,1,MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED|MAP_NORESERVE,-1,0); if(is_error(r)) { print("mmap %ld after %lu\n",r,k); long pid; int c=0; while((pid=sys_fork())>0) c++; if(pid==0) for(;;) C(34,0,0,0,0,0,0); print("forks %d %ld\n",c,pid); for(;;) sys_sched_yield(); } } } break;
  case 39: { /* argv hoard: children exec themselves with 2 MiB of arguments and unmap the stack */
     static char s[131000]; char**a=(char**)m; int i; memset(s,'a',sizeof s-1); a[0]="slow"; a[1]="40"; for(i=2;i<17;i++) a[i]=s; a[i]=0; long pid; u64 k=0;
     for(;;k++){ s[0]='a'+k%26; s[1]='a'+k/26%26; s[2]='a'+k/676%26; pid=sys_fork(); if(pid==0){ r=C(59,"/bin/slow",a,a+17,0,0,0); sys_exit_group(1);} if(pid<0) {print("fork %ld after %lu\n",pid,k); break;} for(int j=0;j<3;j++) sys_sched_yield(); } for(;;) C(34,0,0,0,0,0,0); } break;
  case 40: sys_munmap(0x7ffffff00000-(8<<20),0xff000+(8<<20)-0); for(;;) C(34,0,0,0,0,0,0); break;
  case 41: { /* pipes full */ for(u64 k=0;;k++){ if(sys_pipe2(p,O_NONBLOCK)<0){ long pid=sys_fork(); if(pid<0){print("fork %ld\n",pid); for(;;) sys_sched_yield();} if(pid) for(;;) C(34,0,0,0,0,0,0); for(int i=3;i<1100;i++) if(i%97) sys_close(i); k=0; continue;} C(72,p[1],1031,1<<20,0,0,0); while(sys_write(p[1],m,1<<20)>0); } } break;
  case 42: { /* queued signals */ u64 mask=~0UL; sys_rt_sigprocmask(0,&mask,NULL); for(u64 k=0;;k++){ r=sys_kill(sys_getpid(),34+k%30); if(r<0){print("kill %ld after %lu\n",r,k);for(;;) sys_sched_yield();} } } break;
  case 43: { fd=sys_open("/tmp/l",O_RDWR|O_CREAT,0644); for(u64 k=0;;k++){ struct{short t,w;u32 p;u64 s,l;int pid;} fl={1,0,0,k*2,1,0}; r=sys_fcntl(fd,6,(u64)&fl); if(r<0){print("lock %ld after %lu\n",r,k); char n[]="/tmp/lA"; static int q; if(q++>20) for(;;) sys_sched_yield(); n[6]='A'+q; fd=sys_open(n,O_RDWR|O_CREAT,0644); k=0;} } } break;
  }
  print("r=%ld\n",r); }
}
