package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// tcpPair returns the two ends of a TCP connection on loopback.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dialed.Close()
		_ = accepted.Close()
	})
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// relay is a tool and a target with a tunnel in between.
type relay struct {
	tool, target  *net.TCPConn
	atNear, atFar <-chan Outcome
}

func newRelay(t *testing.T, window int) relay {
	t.Helper()
	a, b := memPipe(window)
	near, far := handshake(t, a, b)
	tool, proxy := tcpPair(t)
	server, target := tcpPair(t)
	return relay{tool, target, joining(t, near, proxy), joining(t, far, server)}
}

// joining joins a tunnel to a connection, and returns where the Outcome comes.
func joining(t *testing.T, tunnel *Conn, outside Half) <-chan Outcome {
	joiner := NewJoiner()
	t.Cleanup(func() { _ = joiner.Close() })
	done := make(chan Outcome, 1)
	go joiner.Join(tunnel, outside, func(out Outcome) { done <- out })
	return done
}

// wantOutcome checks both ends of a relay that ended well.
func (r relay) wantOutcome(t *testing.T, fromTool, fromTarget int) {
	t.Helper()
	want := Outcome{ToTunnel: int64(fromTool), FromTunnel: int64(fromTarget)}
	if got := <-r.atNear; got != want {
		t.Errorf("the near end's outcome is %+v; want %+v", got, want)
	}
	want = Outcome{ToTunnel: int64(fromTarget), FromTunnel: int64(fromTool)}
	if got := <-r.atFar; got != want {
		t.Errorf("the far end's outcome is %+v; want %+v", got, want)
	}
}

// sendAll writes b and ends the direction.
func sendAll(t *testing.T, c *net.TCPConn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Errorf("Write: %v; want nil, this direction is open", err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}

func wantAll(t *testing.T, who string, c io.Reader, want []byte) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s read %d bytes and %v; want the %d that were sent, then EOF", who, len(got), err, len(want))
	}
}

func TestJoinHalfClosesTowardsTheTarget(t *testing.T) {
	r := newRelay(t, 1000)
	request, answer := pattern(3*chunkSize), pattern(5*chunkSize+1)
	go sendAll(t, r.tool, request)
	wantAll(t, "the target", r.target, request)
	// The target answers after the tool's EOF.
	go sendAll(t, r.target, answer)
	wantAll(t, "the tool", r.tool, answer)
	r.wantOutcome(t, len(request), len(answer))
}

func TestJoinHalfClosesTowardsTheTool(t *testing.T) {
	r := newRelay(t, 1000)
	answer, request := pattern(3*chunkSize), pattern(5*chunkSize+1)
	go sendAll(t, r.target, answer)
	wantAll(t, "the tool", r.tool, answer)
	go sendAll(t, r.tool, request)
	wantAll(t, "the target", r.target, request)
	r.wantOutcome(t, len(request), len(answer))
}

func TestJoinCopiesBothWaysAtOnce(t *testing.T) {
	r := newRelay(t, chunkSize)
	up, down := pattern(20*chunkSize), pattern(10*chunkSize)
	var all sync.WaitGroup
	all.Go(func() { sendAll(t, r.tool, up) })
	all.Go(func() { sendAll(t, r.target, down) })
	all.Go(func() { wantAll(t, "the tool", r.tool, down) })
	all.Go(func() { wantAll(t, "the target", r.target, up) })
	all.Wait()
	r.wantOutcome(t, len(up), len(down))
}

// sendReset closes a TCP connection with a RST.
func sendReset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// wantReset checks that a TCP connection ends with a RST.
func wantReset(t *testing.T, who string, c *net.TCPConn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s read %v; want ECONNRESET: a broken tunnel must not look complete", who, err)
	}
}

func TestJoinCarriesAResetOfTheToolToTheTarget(t *testing.T) {
	r := newRelay(t, chunkSize)
	sendReset(r.tool)
	wantReset(t, "the target", r.target)
	if out := <-r.atNear; !errors.Is(out.Err, syscall.ECONNRESET) {
		t.Errorf("the near end's outcome is %v; want ECONNRESET", out.Err)
	}
	wantAbort(t, "the far end's outcome", (<-r.atFar).Err, AbortError{Code: AbortReset, Remote: true})
}

func TestJoinCarriesAResetOfTheTargetToTheTool(t *testing.T) {
	r := newRelay(t, chunkSize)
	sendReset(r.target)
	wantReset(t, "the tool", r.tool)
	if out := <-r.atFar; !errors.Is(out.Err, syscall.ECONNRESET) {
		t.Errorf("the far end's outcome is %v; want ECONNRESET", out.Err)
	}
	wantAbort(t, "the near end's outcome", (<-r.atNear).Err, AbortError{Code: AbortReset, Remote: true})
}

func TestJoinCarriesAResetBehindAHalfClose(t *testing.T) {
	r := newRelay(t, chunkSize)
	sendAll(t, r.tool, pattern(10))
	wantAll(t, "the target", r.target, pattern(10))
	sendReset(r.target)
	wantReset(t, "the tool", r.tool)
	<-r.atNear
	<-r.atFar
}

// joined returns a TCP connection that Join has joined to a tunnel, whose far end
// the test plays by hand.
func joined(t *testing.T) (tool *net.TCPConn, far *memStream, fromNear *decoder, outcome <-chan Outcome) {
	t.Helper()
	near, far, fromNear := opened(t, chunkSize)
	tool, proxy := tcpPair(t)
	return tool, far, fromNear, joining(t, near, proxy)
}

func TestJoinNoticesAnAbortBehindEnd(t *testing.T) {
	tool, far, _, outcome := joined(t)
	put(t, far, dataChunk(pattern(10)), controlChunk(endChunk()))
	wantAll(t, "the tool", tool, pattern(10))
	put(t, far, controlChunk(abortChunk(AbortTimeout, "the target timed out")))
	wantAbort(t, "the outcome", (<-outcome).Err, AbortError{Code: AbortTimeout, Detail: "the target timed out", Remote: true})
	_ = tool.SetWriteDeadline(time.Now().Add(10 * time.Second))
	var err error
	for err == nil {
		_, err = tool.Write([]byte("x"))
	}
	// Linux calls a RST behind a FIN EPIPE.
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the tool's Write: %v; want its connection to be reset", err)
	}
}

func TestJoinResetsTheToolWhenTheStreamIsCut(t *testing.T) {
	for name, chunks := range map[string][][]byte{
		"between chunks": {dataChunk(pattern(10))},
		"inside a chunk": {dataChunk(pattern(10))[:8]},
		"behind nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			tool, far, _, outcome := joined(t)
			put(t, far, chunks...)
			_ = far.Close()
			wantReset(t, "the tool", tool)
			wantAbort(t, "the outcome", (<-outcome).Err, AbortError{Code: AbortCut})
		})
	}
}

func TestJoinNoticesACutBehindEnd(t *testing.T) {
	tool, far, _, outcome := joined(t)
	put(t, far, controlChunk(endChunk()))
	wantAll(t, "the tool", tool, nil)
	_ = far.Close()
	wantAbort(t, "the outcome", (<-outcome).Err, AbortError{Code: AbortCut})
}

func TestJoinRefusesDataBehindEnd(t *testing.T) {
	tool, far, _, outcome := joined(t)
	put(t, far, controlChunk(endChunk()))
	wantAll(t, "the tool", tool, nil)
	put(t, far, dataChunk(pattern(10)))
	wantAbort(t, "the outcome", (<-outcome).Err, AbortError{Code: AbortProtocolError})
}

func TestJoinResetTellsTheFarEndNoAddress(t *testing.T) {
	tool, _, fromNear, outcome := joined(t)
	sendReset(tool)
	abort := wantControl(t, fromNear).GetAbort()
	if abortCode(abort.GetCode()) != AbortReset || abort.GetDetail() != "the connection was reset" {
		t.Errorf("the far end was told %v; want CODE_RESET and no address of this side", abort)
	}
	<-outcome
}

func TestJoinOfTwoTunnelsHalfClosesAndAborts(t *testing.T) {
	a, b := memPipe(1000)
	near, middle := handshake(t, a, b)
	c, d := memPipe(1000)
	next, far := handshake(t, c, d)
	outcome := joining(t, next, middle)
	go func() {
		_, _ = near.Write(pattern(chunkSize))
		_ = near.CloseWrite()
	}()
	wantAll(t, "the far end", far, pattern(chunkSize))
	_ = far.Abort(AbortTimeout, "too slow")
	_, err := near.Read(make([]byte, 1))
	wantAbort(t, "Read at the near end", err, AbortError{Code: AbortTimeout, Detail: "too slow", Remote: true})
	if out := <-outcome; out.ToTunnel != chunkSize || out.Err == nil {
		t.Errorf("the outcome is %+v; want %d bytes to the tunnel and the abort", out, chunkSize)
	}
	_ = near.Close()
}

func TestJoinTellsAPeerThatBreaksTheProtocol(t *testing.T) {
	_, far, fromNear, outcome := joined(t)
	put(t, far, controlChunk(connectedChunk()))
	<-outcome
	if abort := wantControl(t, fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_PROTOCOL_ERROR {
		t.Errorf("the peer was told %v; want the reason", abort)
	}
}
