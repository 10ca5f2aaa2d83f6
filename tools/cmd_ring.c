int cmd_ring(int a,char**b); int cmd_demo(int a,char**b);
int cmd_ring(int a,char**b){(void)a;(void)b;return 0;} int cmd_demo(int a,char**b){(void)a;(void)b;return 0;}
