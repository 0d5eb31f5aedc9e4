package wire

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var example = Target{Host: "example.com", Port: 443}

// tunnel returns the two ends of a tunnel that has been confirmed.
func tunnel(t *testing.T) (near, far *Conn) {
	t.Helper()
	a, b := net.Pipe()
	return handshake(t, pipeStream{a}, pipeStream{b})
}

// pipeStream is a stream without any buffer.
type pipeStream struct{ net.Conn }

func (pipeStream) MaxWrite() int          { return chunkSize }
func (pipeStream) Readable() bool         { return true } // it can't tell
func (pipeStream) OnReadable(func()) bool { return false }

func handshake(t *testing.T, a, b Stream) (near, far *Conn) {
	t.Helper()
	accepted := make(chan *Conn, 1)
	go func() {
		conn, target, err := Accept(context.Background(), b)
		if err != nil || target != example {
			t.Errorf("Accept gave the target %v and the error %v; want %v", target, err, example)
		} else if err := conn.Confirm(); err != nil {
			t.Errorf("Confirm: %v", err)
		}
		accepted <- conn
	}()
	near, err := Open(a, example)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if err := near.Handshake(context.Background()); err != nil {
		t.Fatalf("Handshake: %v", err)
	}
	return near, <-accepted
}

func TestConformance(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		near, far := tunnel(t)
		return near, far, func() {
			_ = near.Abort(AbortCanceled, "")
			_ = far.Abort(AbortCanceled, "")
		}, nil
	})
}
