package e2e

import (
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// Ten thousand tunnels, every way one can end, leave nothing behind. This test
// does not run beside others: it counts what the whole process holds.
func TestNothingIsLeft(t *testing.T) {
	p := newPair(t, func(_ *testserver.Config, c *client.Config) { c.Log = nil })
	echoing := target(t, echo)
	resetting := target(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		reset(c)
	})
	ways := []func(){
		func() { // both directions end
			one := p.connect(echoing)
			_, _ = io.WriteString(one, "ping")
			_ = one.CloseWrite()
			mustRead(t, one, []byte("ping"))
			mustEnd(t, one)
			_ = one.Close()
		},
		func() { // the tool closes without a word
			_ = p.connect(echoing).Close()
		},
		func() { // the tool resets
			reset(p.connect(echoing).TCPConn)
		},
		func() { // the target resets
			one := p.connect(resetting)
			_, _ = io.WriteString(one, "x")
			mustReset(t, "the tool", one)
			_ = one.Close()
		},
		func() { // the target is refused
			one := p.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")
			if answer := one.answer(); answer.StatusCode != http.StatusBadGateway {
				t.Errorf("a refused target: %s, want 502", answer.Status)
			}
			_ = one.Close()
		},
	}
	nothingIsLeft(t, p, 10_000, ways)
}

// Nor do tunnels that are refused behind an early 200, with whatever the tool has
// sent by then.
func TestNothingIsLeftOfRefusedEarlyTunnels(t *testing.T) {
	p := newPair(t, func(_ *testserver.Config, c *client.Config) { c.Log, c.EarlyOpen = nil, client.EarlyOpenAlways })
	open := func(size int) *tool {
		one := p.connect("127.0.0.1:1")
		_, _ = one.Write(make([]byte, size))
		return one
	}
	end := func(one *tool) { // the reset may have shown in a Write
		_, _ = io.Copy(io.Discard, one)
		_ = one.Close()
	}
	nothingIsLeft(t, p, 2_000, []func(){
		func() { end(open(0)) },
		func() { end(open(100)) },
		func() { end(open(300 << 10)) }, // more than a stream's window
		func() { // the tool half-closes
			one := open(100)
			_ = one.CloseWrite()
			end(one)
		},
		func() { _ = open(100).Close() },          // the tool goes away
		func() { reset(open(100 << 10).TCPConn) }, // the tool resets
	})
}

// nothingIsLeft runs n tunnels, each in one of the ways, and ends the client.
func nothingIsLeft(t *testing.T, p *pair, n int, ways []func()) {
	t.Helper()
	round := func(n int) {
		var all sync.WaitGroup
		for worker := range 20 {
			all.Go(func() {
				for i := range n / 20 {
					ways[(worker+i)%len(ways)]()
				}
			})
		}
		all.Wait()
	}
	round(200) // whatever is made once is made now
	goroutines, files := settled(t)
	round(n)
	eventually(t, "back to the goroutines and descriptors of before", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files
	})
	if t.Failed() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	}
	_ = p.client.Close()
	eventually(t, "told about the end of the session", func() bool { return len(p.logs.lines("session ended")) > 0 })
	if line := p.logs.lines("session ended")[0]; !strings.Contains(line, "streams_left=0") {
		t.Errorf("streams are left: %s", line)
	}
}

// Sessions that die while they are lost leave nothing behind either.
func TestNothingIsLeftOfALostSession(t *testing.T) {
	p, path := pairOver(t, 0, func(s *testserver.Config, _ *client.Config) { s.ResumeWindow = time.Second })
	address := target(t, echo)
	_ = p.connect(address).Close()
	goroutines, files := settled(t)
	for range 3 {
		var tools []*tool
		for range 20 {
			one := p.connect(address)
			_, _ = io.WriteString(one, "x")
			mustRead(t, one, []byte("x"))
			tools = append(tools, one)
		}
		path.freeze()
		path.cut()
		for _, one := range tools {
			mustReset(t, "the tool", one)
			_ = one.Close()
		}
		path.thaw()
	}
	_ = p.connect(address).Close() // there is a session again
	eventually(t, "back to the goroutines and descriptors of before", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files
	})
}

// settled returns how many goroutines and descriptors there are once nothing is
// under way any more: when their number has not changed for a while.
func settled(t *testing.T) (goroutines, files int) {
	t.Helper()
	since := time.Now()
	eventually(t, "settled", func() bool {
		g, f := runtime.NumGoroutine(), descriptors(t)
		if g != goroutines || f != files {
			goroutines, files, since = g, f, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	return goroutines, files
}

// descriptors returns how many files this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
