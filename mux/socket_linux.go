package mux

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// notSentLowat is how much the kernel takes that it can't send yet. What it takes
// beyond that is a queue that nothing can overtake.
const notSentLowat = 64 << 10

// keepQueueShort sets TCP_NOTSENT_LOWAT on the TCP connection below conn, which
// may be one of TLS. Without TCP below there is nothing to do.
func keepQueueShort(conn net.Conn) {
	for {
		inner, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = inner.NetConn()
	}
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
	})
}
