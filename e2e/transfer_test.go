package e2e

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestHeadArrivesByteByByte(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	conn := p.dial()
	_ = conn.SetNoDelay(true)
	sent := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: slow\r\n\r\nhello"
	for i := range len(sent) {
		if _, err := conn.Write([]byte{sent[i]}); err != nil {
			t.Fatal(err)
		}
	}
	one := p.wrap(conn)
	if answer := one.answer(); answer.StatusCode != http.StatusOK {
		t.Fatalf("got %s, want 200", answer.Status)
	}
	mustRead(t, one, []byte("hello"))
}

func TestDataInThePacketOfTheHead(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	for _, size := range []int{1, 5, 4 << 10, 16 << 10, 256 << 10} {
		data := noise(size, size)
		one := p.send("CONNECT " + address + " HTTP/1.1\r\n\r\n" + string(data))
		if answer := one.answer(); answer.StatusCode != http.StatusOK {
			t.Fatalf("with %d bytes behind the head: %s, want 200", size, answer.Status)
		}
		_ = one.CloseWrite()
		mustRead(t, one, data)
		mustEnd(t, one)
	}
}

func TestAnswerPromisesNoBody(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
		one := p.send("CONNECT " + address + " " + version + "\r\n\r\n")
		answer := one.answer()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %s, want 200", version, answer.Status)
		}
		for _, field := range []string{"Content-Length", "Transfer-Encoding"} {
			if v, there := answer.Header[field]; there {
				t.Errorf("%s: the answer has %s: %s (RFC 9110, section 9.3.6 forbids it)", version, field, v)
			}
		}
		_, _ = io.WriteString(one, "ping")
		mustRead(t, one, []byte("ping"))
	}
}

func TestIPv6Literal(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatalf("this test needs IPv6 on loopback: %v", err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			echo(conn.(*net.TCPConn))
			_ = conn.Close()
		}
	}()
	one := newPair(t).connect(l.Addr().String())
	_, _ = io.WriteString(one, "six")
	mustRead(t, one, []byte("six"))
}

func TestTargetSpeaksFirst(t *testing.T) {
	t.Parallel()
	address := target(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "220 ready\r\n")
		echo(c)
	})
	one := newPair(t).connect(address)
	mustRead(t, one, []byte("220 ready\r\n"))
	_, _ = io.WriteString(one, "HELO\r\n")
	mustRead(t, one, []byte("HELO\r\n"))
}

func TestToolEndsFirstAndReceivesOn(t *testing.T) {
	t.Parallel()
	data := noise(1, 6<<20)
	ended := make(chan struct{})
	address := target(t, func(c *net.TCPConn) {
		question, _ := io.ReadAll(c)
		close(ended)
		if string(question) == "question" {
			_, _ = c.Write(data)
		}
	})
	one := newPair(t).connect(address)
	_, _ = io.WriteString(one, "question")
	_ = one.CloseWrite()
	<-ended
	mustRead(t, one, data)
	mustEnd(t, one)
}

func TestTargetEndsFirstAndReceivesOn(t *testing.T) {
	t.Parallel()
	data := noise(2, 6<<20)
	received := make(chan []byte, 1)
	address := target(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "bye")
		_ = c.CloseWrite()
		all, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("the target reads on: %v", err)
		}
		received <- all
	})
	one := newPair(t).connect(address)
	mustRead(t, one, []byte("bye"))
	mustEnd(t, one)
	if _, err := one.Write(data); err != nil {
		t.Fatalf("the tool writes on: %v", err)
	}
	_ = one.CloseWrite()
	if got := <-received; !bytes.Equal(got, data) {
		t.Errorf("the target got %d bytes that are not the %d that were sent", len(got), len(data))
	}
}

// A tool that sends everything and its FIN at once, to a target that reads late.
func TestEndRightBehindTheBody(t *testing.T) {
	t.Parallel()
	data := noise(3, 2<<20)
	for _, slow := range []bool{false, true} {
		received := make(chan []byte, 1)
		address := target(t, func(c *net.TCPConn) {
			_ = c.SetReadBuffer(128 << 10)
			got, err := io.ReadAll(&slowReader{r: c, pause: slow})
			if err != nil {
				t.Errorf("the target: %v, want a clean EOF", err)
			}
			received <- got
		})
		one := newPair(t).connect(address)
		if _, err := one.Write(data); err != nil {
			t.Fatal(err)
		}
		_ = one.Close()
		if got := <-received; !bytes.Equal(got, data) {
			t.Errorf("the target got %d bytes that are not the %d that were sent", len(got), len(data))
		}
	}
}

// The same the other way round.
func TestEndRightBehindTheDownload(t *testing.T) {
	t.Parallel()
	data := noise(4, 2<<20)
	one := newPair(t).connect(target(t, func(c *net.TCPConn) { _, _ = c.Write(data) }))
	_ = one.SetReadBuffer(128 << 10)
	got, err := io.ReadAll(&slowReader{r: one, pause: true})
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the tool got %d bytes of %d, then %v; want all and a clean EOF", len(got), len(data), err)
	}
}

// slowReader reads little at a time, and rests.
type slowReader struct {
	r     io.Reader
	pause bool
	n     int
}

func (s *slowReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p[:min(len(p), 16<<10)])
	s.n += n
	if s.pause && s.n >= 256<<10 {
		s.n = 0
		time.Sleep(20 * time.Millisecond) // the slowness under test
	}
	return n, err
}

func TestFiveHundredTunnelsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	var all sync.WaitGroup
	for i := range 500 {
		one := p.connect(address)
		data := noise(1000+i, 128<<10)
		all.Go(func() {
			_, _ = one.Write(data)
			_ = one.CloseWrite()
		})
		all.Go(func() {
			got, err := io.ReadAll(one)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("tunnel %d: %d bytes, %v; want its own %d bytes and a clean EOF", i, len(got), err, len(data))
			}
		})
	}
	all.Wait()
}

func TestStalledReadersHoldUpNobody(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	source := target(t, flood)
	for range 8 {
		_ = p.connect(source) // and never read
	}
	address := target(t, echo)
	data := noise(5, 16<<20)
	one := p.connect(address)
	go func() {
		_, _ = one.Write(data)
		_ = one.CloseWrite()
	}()
	mustRead(t, one, data)
	mustEnd(t, one)
}
