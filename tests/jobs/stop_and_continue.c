#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <signal.h>
#include <string.h>
#include <errno.h>
#include <sys/wait.h>
#include <sys/prctl.h>
static volatile int n; static siginfo_t last;
static void chld(int s, siginfo_t *i, void *u){ n++; last=*i; }
static void info(const char*w,int r,siginfo_t*i,pid_t c){ printf("%s r=%d errno=%d signo=%d code=%d pid=%s status=%d uid=%d\n",w,r,r<0?errno:0,i->si_signo,i->si_code,i->si_pid==c?"child":"0",i->si_status,i->si_uid); }
static char state(pid_t p){ char b[64],l[512]; sprintf(b,"/proc/%d/stat",p); FILE*f=fopen(b,"r"); if(!fgets(l,512,f))return '?'; fclose(f); return strrchr(l,')')[2]; }
int main(){
 setvbuf(stdout,0,_IONBF,0);
 struct sigaction sa={0}; sa.sa_sigaction=chld; sa.sa_flags=SA_SIGINFO; sigaction(SIGCHLD,&sa,0);
 pid_t c=fork(); int st; siginfo_t i;
 if(!c){ for(;;) pause(); }
 kill(c,SIGSTOP);
 int r; do r=waitpid(c,&st,WUNTRACED); while(r<0&&errno==EINTR);
 printf("wait %d stopped=%d sig=%d n=%d code=%d status=%d state=%c\n",r==c,WIFSTOPPED(st),WSTOPSIG(st),n,last.si_code,last.si_status,state(c));
 printf("again %d\n",waitpid(c,&st,WUNTRACED|WNOHANG));
 kill(c,SIGCONT);
 do r=waitpid(c,&st,WCONTINUED); while(r<0&&errno==EINTR);
 printf("cont %d %d st=%x\n",r==c,WIFCONTINUED(st),st);
 kill(c,SIGTSTP);  /* not orphaned?*/
 do r=waitid(P_PID,c,&i,WSTOPPED|WNOWAIT); while(r<0&&errno==EINTR); info("nowait",r,&i,c);
 r=waitid(P_PID,c,&i,WSTOPPED); info("waitid",r,&i,c);
 memset(&i,0x55,sizeof i); r=waitid(P_PID,c,&i,WSTOPPED|WNOHANG); info("nohang",r,&i,c);
 kill(c,SIGUSR1); printf("usr1 pending: %d\n",waitpid(c,&st,WNOHANG));
 kill(c,SIGKILL); do r=waitid(P_PID,c,&i,WEXITED); while(r<0&&errno==EINTR); info("killed",r,&i,c);
 errno=0; r=waitid(P_PID,c,&i,WEXITED); printf("gone %d %d\n",r,errno);
 r=waitid(P_PID,0,&i,WEXITED); printf("pid0 %d %d\n",r,errno);
 r=waitid(P_ALL,0,&i,0); printf("nostates %d %d\n",r,errno);
 r=waitid(P_PGID,-1,&i,WEXITED); printf("pgid-1 %d %d\n",r,errno);
 r=waitid(9,1,&i,WEXITED); printf("kind9 %d %d\n",r,errno);
 r=wait4(-1,&st,WEXITED,0); printf("wait4 exited %d %d\n",r,errno);
 /* NOCLDSTOP */
 sa.sa_flags=SA_SIGINFO|SA_NOCLDSTOP; sigaction(SIGCHLD,&sa,0); n=0;
 c=fork(); if(!c){ raise(SIGSTOP); _exit(7);} 
 do r=waitpid(c,&st,WUNTRACED); while(r<0&&errno==EINTR);
 printf("nocldstop n=%d stopped %d\n",n,WIFSTOPPED(st));
 kill(c,SIGCONT); do r=waitpid(c,&st,0); while(r<0&&errno==EINTR);
 printf("exit %d n=%d code=%d st=%d\n",WEXITSTATUS(st),n,last.si_code,last.si_status);
 /* stop signal cancels pending cont, cont cancels stop */
 sigset_t m; sigemptyset(&m); sigaddset(&m,SIGTSTP); sigaddset(&m,SIGCONT); sigprocmask(SIG_BLOCK,&m,0);
 raise(SIGTSTP); sigset_t p; sigpending(&p); printf("tstp pending %d\n",sigismember(&p,SIGTSTP));
 raise(SIGCONT); sigpending(&p); printf("tstp %d cont %d\n",sigismember(&p,SIGTSTP),sigismember(&p,SIGCONT));
 raise(SIGTSTP); sigpending(&p); printf("tstp %d cont %d\n",sigismember(&p,SIGTSTP),sigismember(&p,SIGCONT));
 raise(SIGCONT); 
 /* __WCLONE */
 c=fork(); if(!c) _exit(3);
 r=waitpid(c,&st,__WCLONE); printf("wclone %d %d\n",r,errno);
 do r=waitpid(c,&st,__WALL); while(r<0&&errno==EINTR); printf("wall %d\n",r==c);
 /* subreaper */
 prctl(PR_SET_CHILD_SUBREAPER,1); int v=-1; prctl(PR_GET_CHILD_SUBREAPER,&v); printf("sub %d\n",v);
 int pf[2]; pipe(pf);
 c=fork(); if(!c){ pid_t g=fork(); if(!g){ while(getppid()!=1 && 0); usleep(1000); int pp=getppid(); write(pf[1],&pp,4); _exit(9);} _exit(1);} 
 do r=waitpid(c,&st,0); while(r<0&&errno==EINTR);
 do r=waitpid(-1,&st,0); while(r<0&&errno==EINTR); printf("orphan exit %d\n",WEXITSTATUS(st));
 int pp; read(pf[0],&pp,4); printf("reparented %d\n",pp==getpid());
 return 0; }
