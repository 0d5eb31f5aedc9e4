package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// soon waits until something is so. It is for what no call reports.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	late := time.Now().Add(10 * time.Second)
	for !so() {
		if time.Now().After(late) {
			t.Fatalf("waited for this in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// goroutinesIn counts the goroutines that are in all of these functions.
func goroutinesIn(functions ...string) (count int) {
	b := make([]byte, 1<<20)
	n := runtime.Stack(b, true)
	for n == len(b) {
		b = make([]byte, 2*len(b))
		n = runtime.Stack(b, true)
	}
	for stack := range strings.SplitSeq(string(b[:n]), "\n\n") {
		stack, _, _ = strings.Cut(stack, "created by ")
		if !slices.ContainsFunc(functions, func(f string) bool { return !strings.Contains(stack, f) }) {
			count++
		}
	}
	return count
}

// waitingIn returns for how many connections a poller waits, where there is one.
var waitingIn = func(*poller) int { return 0 }

// joints is what a Joiner has to do for the tunnels of a test. The patience of
// its tunnels is short: Join's own takes a second.
type joints struct {
	*Joiner
	open sync.WaitGroup // tunnels that are not done
}

const shortPatience = 3 * time.Millisecond

// newJoints returns what checks in the end that all that was joined is done, once,
// and that nothing is left of it. It is called before the connections are made: they
// are closed first then.
func newJoints(t *testing.T) *joints {
	t.Helper()
	j := &joints{Joiner: NewJoiner()}
	t.Cleanup(func() {
		done := make(chan struct{})
		go func() {
			j.open.Wait()
			_ = j.Close()
			close(done)
		}()
		select {
		case <-done:
			soon(t, "no connection is waited for when all are closed", func() bool { return waitingIn(j.poller) == 0 })
		case <-time.After(10 * time.Second):
			t.Error("a tunnel is not done although its connections are closed; want every tunnel to end")
		}
	})
	return j
}

// join joins with the short patience, and returns where the Outcome comes.
func (j *joints) join(t *testing.T, tunnel *Conn, outside Half) <-chan Outcome {
	outcome := make(chan Outcome, 1)
	var calls atomic.Int32
	j.open.Add(1)
	done := func(out Outcome) {
		if n := calls.Add(1); n > 1 {
			t.Errorf("done was called %d times; want once", n)
			return
		}
		outcome <- out
		j.open.Done()
	}
	// As in Join.
	one := &joint{joiner: j.Joiner, tunnel: tunnel, outside: outside, done: done, running: 1, source: newSource(outside)}
	if one.source.raw != nil && j.poller != nil {
		one.source.patience = shortPatience
	}
	go func() {
		if !tunnel.onReadable(one.wake(one.outward)) {
			one.wake(one.outward)()
		}
		one.inward()
	}()
	return outcome
}

// rest waits until no tunnel has a goroutine.
func (j *joints) rest(t *testing.T) {
	t.Helper()
	if j.poller == nil {
		t.Skip("idle connections wait with a goroutine on this system")
	}
	soon(t, "no idle tunnel has a goroutine", func() bool { return goroutinesIn("wire.(*joint).") == 0 })
}

func outcomeOf(t *testing.T, outcome <-chan Outcome) Outcome {
	t.Helper()
	select {
	case out := <-outcome:
		return out
	case <-time.After(5 * time.Second):
		t.Fatal("done was not called; want it, the tunnel is over")
		return Outcome{}
	}
}

// parked is a joined tunnel whose tool and far end the test plays. It has been idle
// for so long that it has no goroutine.
type parked struct {
	*joints
	tool     *net.TCPConn
	far      *memStream
	fromNear *decoder
	outcome  <-chan Outcome
}

func newParked(t *testing.T) parked {
	t.Helper()
	j := newJoints(t)
	p := j.parked(t)
	p.rest(t)
	return p
}

// parked joins another tunnel, and doesn't wait.
func (j *joints) parked(t *testing.T) parked {
	t.Helper()
	near, far, fromNear := opened(t, chunkSize)
	tool, proxy := tcpPair(t)
	_ = tool.SetDeadline(time.Now().Add(10 * time.Second)) // so that no failure hangs
	return parked{j, tool, far, fromNear, j.join(t, near, proxy)}
}

// up sends from the tool to the far end, down the other way.
func (p parked) up(t *testing.T, text string) {
	t.Helper()
	if _, err := p.tool.Write([]byte(text)); err != nil {
		t.Fatalf("the tool's Write: %v; want nil, this direction is open", err)
	}
	wantData(t, p.fromNear, []byte(text))
}

func (p parked) down(t *testing.T, text string) {
	t.Helper()
	put(t, p.far, dataChunk([]byte(text)))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(p.tool, got); err != nil || string(got) != text {
		t.Fatalf("the tool read %q and %v; want %q", got, err, text)
	}
}

func (p parked) wantEnd(t *testing.T) {
	t.Helper()
	if end := wantControl(t, p.fromNear); end.GetEnd() == nil {
		t.Errorf("the far end was told %v; want End", end)
	}
}

// wantWell checks that both directions have ended, and the tunnel with them.
func (p parked) wantWell(t *testing.T, fromTool, fromFar int) {
	t.Helper()
	want := Outcome{ToTunnel: int64(fromTool), FromTunnel: int64(fromFar)}
	if got := outcomeOf(t, p.outcome); got != want {
		t.Errorf("the outcome is %+v; want %+v", got, want)
	}
	wantEOF(t, p.fromNear)
	p.rest(t)
}

// wantToolReset checks that the tool can't take a tunnel that broke for one that
// ended: its connection was reset, which behind an EOF is seen when it writes.
func (p parked) wantToolReset(t *testing.T) {
	t.Helper()
	var err error
	for err == nil {
		_, err = p.tool.Write([]byte("x"))
	}
	// Linux calls a RST behind a FIN EPIPE.
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the tool's Write: %v; want its connection to be reset", err)
	}
}

// What came in one piece with Connect stands in the tunnel's own buffer: the stream
// never becomes readable for it.
func TestJoinServesWhatCameWithConnect(t *testing.T) {
	connect, end := controlChunk(connectChunk(example)), controlChunk(endChunk())
	data := dataChunk([]byte("hello"))
	for name, c := range map[string]struct {
		early, late []byte
		want        string
	}{
		"nothing":                   {nil, slices.Concat(data, end), "hello"},
		"data":                      {data, end, "hello"},
		"data and End":              {slices.Concat(data, end), nil, "hello"},
		"End":                       {end, nil, ""},
		"two pieces and End":        {slices.Concat(data, data, end), nil, "hellohello"},
		"a part of a data chunk":    {data[:4], slices.Concat(data[4:], end), "hello"},
		"a part of a data header":   {data[:2], slices.Concat(data[2:], end), "hello"},
		"data and a part of End":    {slices.Concat(data, end[:1]), end[1:], "hello"},
		"an empty data chunk":       {slices.Concat(dataChunk(nil), data, end), nil, "hello"},
		"an empty data chunk alone": {dataChunk(nil), slices.Concat(data, end), "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			joiner := NewJoiner()
			defer joiner.Close()
			near, b := memPipe(chunkSize)
			put(t, near, slices.Concat(connect, c.early))
			far, _, err := Accept(t.Context(), b)
			if err != nil {
				t.Fatalf("Accept: %v", err)
			}
			defer far.Abort(AbortCanceled, "the test is over")
			if b.Readable() {
				t.Fatal("the stream is readable; want all of it in the tunnel's buffer for this test")
			}
			if err := far.Confirm(); err != nil {
				t.Fatalf("Confirm: %v", err)
			}
			target, proxy := tcpPair(t)
			_ = target.SetDeadline(time.Now().Add(5 * time.Second))
			outcome := make(chan Outcome, 1)
			go joiner.Join(far, proxy, func(out Outcome) { outcome <- out })
			put(t, near, c.late)
			wantAll(t, "the target", target, []byte(c.want))
			sendAll(t, target, []byte("bye"))
			want := Outcome{ToTunnel: 3, FromTunnel: int64(len(c.want))}
			if got := outcomeOf(t, outcome); got != want {
				t.Errorf("the outcome is %+v; want %+v", got, want)
			}
			fromFar := &decoder{src: near}
			if answer := wantControl(t, fromFar); answer.GetConnected() == nil {
				t.Errorf("the near end was told %v; want Connected", answer)
			}
			wantData(t, fromFar, []byte("bye"))
			wantControl(t, fromFar)
			wantEOF(t, fromFar)
		})
	}
}

func TestJoinServesAnAbortThatCameWithConnect(t *testing.T) {
	j := newJoints(t)
	near, b := memPipe(chunkSize)
	put(t, near, slices.Concat(controlChunk(connectChunk(example)), controlChunk(abortChunk(AbortReset, "gone"))))
	far, _, err := Accept(t.Context(), b)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	target, proxy := tcpPair(t)
	_ = target.SetDeadline(time.Now().Add(5 * time.Second))
	outcome := j.join(t, far, proxy)
	wantReset(t, "the target", target)
	wantAbort(t, "the outcome", outcomeOf(t, outcome).Err, AbortError{Code: AbortReset, Detail: "gone", Remote: true})
}

// This one has Join's own patience.
func TestJoinReturnsWhenTheToolIsIdle(t *testing.T) {
	t.Parallel()
	joiner := NewJoiner()
	defer joiner.Close()
	if joiner.poller == nil {
		t.Skip("idle connections wait with a goroutine on this system")
	}
	near, far, fromNear := opened(t, chunkSize)
	tool, proxy := tcpPair(t)
	outcome := make(chan Outcome, 1)
	p := parked{tool: tool, far: far, fromNear: fromNear, outcome: outcome}
	returned := make(chan struct{})
	start := time.Now()
	go func() {
		joiner.Join(near, proxy, func(out Outcome) { outcome <- out })
		close(returned)
	}()
	p.up(t, "ping")
	p.down(t, "pong")
	<-returned
	if took := time.Since(start); took < idleTime {
		t.Errorf("Join returned after %v; want it to wait for %v", took, idleTime)
	}
	p.up(t, "ping again")
	p.down(t, "pong again")
	put(t, far, controlChunk(endChunk()))
	_ = tool.CloseWrite()
	p.wantEnd(t)
	want := Outcome{ToTunnel: 14, FromTunnel: 14}
	if got := outcomeOf(t, outcome); got != want {
		t.Errorf("the outcome is %+v; want %+v", got, want)
	}
}

func TestParkedTunnelCarriesDataBothWays(t *testing.T) {
	p := newParked(t)
	for range 5 {
		p.up(t, "from the tool")
		p.rest(t)
		p.down(t, "from the far end")
		p.rest(t)
		p.up(t, "at")
		p.down(t, "once")
		p.up(t, "!")
		p.rest(t)
	}
	_ = p.tool.CloseWrite()
	p.wantEnd(t)
	put(t, p.far, controlChunk(endChunk()))
	p.wantWell(t, 5*16, 5*20)
}

func TestParkedTunnelCarriesMuchAtOnce(t *testing.T) {
	p := newParked(t)
	want := pattern(20 * chunkSize)
	for range 2 {
		sent := begin(func() error { _, err := p.tool.Write(want); return err })
		wantData(t, p.fromNear, want)
		if err := <-sent; err != nil {
			t.Errorf("the tool's Write: %v", err)
		}
		p.rest(t)
		sent = begin(func() error {
			for b := range slices.Chunk(want, chunkSize) {
				if _, err := p.far.Write(dataChunk(b)); err != nil {
					return err
				}
			}
			return nil
		})
		got := make([]byte, len(want))
		if _, err := io.ReadFull(p.tool, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the tool read %v, and what was sent: %v; want all of it", err, bytes.Equal(got, want))
		}
		if err := <-sent; err != nil {
			t.Errorf("the far end's Write: %v", err)
		}
		p.rest(t)
	}
	sendReset(p.tool)
}

// A chunk may come in pieces with pauses as long as it likes.
func TestParkedTunnelTakesAChunkInPieces(t *testing.T) {
	p := newParked(t)
	chunk := slices.Concat(dataChunk([]byte("in pieces")), controlChunk(endChunk()))
	for i := range chunk {
		put(t, p.far, chunk[i:i+1])
		time.Sleep(shortPatience / 2)
	}
	wantAll(t, "the tool", p.tool, []byte("in pieces"))
	_ = p.tool.CloseWrite()
	p.wantEnd(t)
	p.wantWell(t, 0, len("in pieces"))
}

func TestParkedTunnelHalfClosesTowardsTheFarEnd(t *testing.T) {
	p := newParked(t)
	_ = p.tool.CloseWrite()
	p.wantEnd(t)
	p.rest(t)
	p.down(t, "the answer")
	p.rest(t)
	put(t, p.far, controlChunk(endChunk()))
	wantAll(t, "the tool", p.tool, nil)
	p.wantWell(t, 0, len("the answer"))
}

func TestParkedTunnelHalfClosesTowardsTheTool(t *testing.T) {
	p := newParked(t)
	put(t, p.far, controlChunk(endChunk()))
	wantAll(t, "the tool", p.tool, nil)
	p.rest(t)
	p.up(t, "the answer")
	p.rest(t)
	_ = p.tool.CloseWrite()
	p.wantEnd(t)
	p.wantWell(t, len("the answer"), 0)
}

func TestParkedTunnelCarriesAResetOfTheTool(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, p parked){
		"in the beginning": func(*testing.T, parked) {},
		"behind data":      func(t *testing.T, p parked) { p.up(t, "some"); p.down(t, "data") },
		"behind the far end's End": func(t *testing.T, p parked) {
			put(t, p.far, controlChunk(endChunk()))
			wantAll(t, "the tool", p.tool, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParked(t)
			before(t, p)
			p.rest(t)
			sendReset(p.tool)
			if abort := wantControl(t, p.fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_RESET {
				t.Errorf("the far end was told %v; want an abort with CODE_RESET", abort)
			}
			wantEOF(t, p.fromNear)
			if out := outcomeOf(t, p.outcome); !errors.Is(out.Err, syscall.ECONNRESET) {
				t.Errorf("the outcome is %v; want ECONNRESET", out.Err)
			}
			p.rest(t)
		})
	}
}

// A tool that has ended its direction is not read from any more: its reset is seen
// when there is something for it.
func TestParkedTunnelNoticesAResetBehindTheToolsEnd(t *testing.T) {
	p := newParked(t)
	_ = p.tool.CloseWrite()
	p.wantEnd(t)
	p.rest(t)
	sendReset(p.tool)
	put(t, p.far, dataChunk([]byte("too late")), dataChunk([]byte("for this")))
	if abort := wantControl(t, p.fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_RESET {
		t.Errorf("the far end was told %v; want an abort with CODE_RESET", abort)
	}
	if out := outcomeOf(t, p.outcome); out.Err == nil {
		t.Error("the outcome has no error; want one, data was lost")
	}
}

// breaks are the ways in which the far end's direction ends without End.
var breaks = map[string]struct {
	happen func(t *testing.T, far *memStream)
	want   AbortError
}{
	"an abort": {
		func(t *testing.T, far *memStream) { put(t, far, controlChunk(abortChunk(AbortTimeout, "too slow"))) },
		AbortError{Code: AbortTimeout, Detail: "too slow", Remote: true},
	},
	"a cut":        {func(_ *testing.T, far *memStream) { _ = far.Close() }, AbortError{Code: AbortCut}},
	"a lost one":   {func(_ *testing.T, far *memStream) { _ = far.lose(errors.New("lost")) }, AbortError{Code: AbortCut}},
	"a wrong one":  {func(t *testing.T, far *memStream) { put(t, far, controlChunk(connectedChunk())) }, AbortError{Code: AbortProtocolError}},
	"an empty one": {func(t *testing.T, far *memStream) { put(t, far, announced(0)) }, AbortError{Code: AbortProtocolError}},
}

func TestParkedTunnelThatBreaksIsAResetForTheTool(t *testing.T) {
	for name, c := range breaks {
		t.Run(name, func(t *testing.T) {
			p := newParked(t)
			c.happen(t, p.far)
			wantReset(t, "the tool", p.tool)
			wantAbort(t, "the outcome", outcomeOf(t, p.outcome).Err, c.want)
			p.rest(t)
		})
	}
}

func TestParkedTunnelThatBreaksBehindTheToolsEndIsAResetForTheTool(t *testing.T) {
	for name, c := range breaks {
		t.Run(name, func(t *testing.T) {
			p := newParked(t)
			_ = p.tool.CloseWrite()
			p.wantEnd(t)
			p.rest(t)
			c.happen(t, p.far)
			wantReset(t, "the tool", p.tool)
			wantAbort(t, "the outcome", outcomeOf(t, p.outcome).Err, c.want)
			p.rest(t)
		})
	}
}

// The far end may break the tunnel behind its own End, as long as the other
// direction is open.
func TestParkedTunnelThatBreaksBehindEndIsAResetForTheTool(t *testing.T) {
	for name, c := range breaks {
		t.Run(name, func(t *testing.T) {
			p := newParked(t)
			put(t, p.far, controlChunk(endChunk()))
			wantAll(t, "the tool", p.tool, nil)
			p.rest(t)
			p.up(t, "still open")
			p.rest(t)
			c.happen(t, p.far)
			wantAbort(t, "the outcome", outcomeOf(t, p.outcome).Err, c.want)
			p.wantToolReset(t)
			p.rest(t)
		})
	}
}

func TestIdleTunnelsHaveNoGoroutines(t *testing.T) {
	j := newJoints(t)
	const many = 300
	before := runtime.NumGoroutine()
	var all [many]parked
	for i := range all {
		all[i] = j.parked(t)
	}
	j.rest(t)
	if n := runtime.NumGoroutine() - before; n > idleWorkers+10 {
		t.Errorf("%d idle tunnels have %d goroutines; want but the few that are kept for whoever is busy next", many, n)
	}
	for round := range 2 {
		var busy sync.WaitGroup
		for _, p := range all {
			busy.Go(func() {
				_, _ = p.tool.Write([]byte("x"))
				_, _ = p.far.Write(dataChunk([]byte("y")))
			})
		}
		busy.Wait()
		for i, p := range all {
			if _, err := p.fromNear.next(); err != nil || p.fromNear.left != 1 {
				t.Fatalf("tunnel %d brought %d bytes and %v to the far end in round %d; want one", i, p.fromNear.left, err, round)
			}
			_, _ = readPayloads(p.fromNear)
			if n, err := p.tool.Read(make([]byte, 10)); n != 1 || err != nil {
				t.Fatalf("tunnel %d brought %d bytes and %v to the tool in round %d; want one", i, n, err, round)
			}
		}
		j.rest(t)
		soon(t, "the workers that are too many have ended", func() bool {
			return runtime.NumGoroutine()-before <= idleWorkers+10
		})
	}
	for _, p := range all {
		_ = p.tool.CloseWrite()
		_, _ = p.far.Write(controlChunk(endChunk()))
	}
	for i, p := range all {
		want := Outcome{ToTunnel: 2, FromTunnel: 2}
		if got := outcomeOf(t, p.outcome); got != want {
			t.Errorf("the outcome of tunnel %d is %+v; want %+v", i, got, want)
		}
	}
}

func TestClosingTheJoinerTwiceLeavesNoGoroutine(t *testing.T) {
	joiner := NewJoiner()
	for range 3 {
		near, far, _ := opened(t, chunkSize)
		tool, proxy := tcpPair(t)
		put(t, far, controlChunk(endChunk()))
		_ = tool.CloseWrite()
		outcome := make(chan Outcome, 1)
		joiner.Join(near, proxy, func(out Outcome) { outcome <- out })
		outcomeOf(t, outcome)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 2 {
				if err := joiner.Close(); err != nil {
					t.Errorf("Close: %v; want nil, also when it is closed already", err)
				}
			}
		})
	}
	all.Wait()
	soon(t, "the workers and the poller have ended", func() bool {
		return goroutinesIn("wire.(*Joiner).work(") == 0 && goroutinesIn("wire.(*poller).run(") == 0
	})
}

// pipes is a Half that no poller knows.
type pipes struct {
	*io.PipeReader
	*io.PipeWriter
}

func (p pipes) CloseWrite() error { return p.PipeWriter.Close() }
func (p pipes) Close() error      { return errors.Join(p.PipeReader.Close(), p.PipeWriter.Close()) }

func pipesPair() (a, b pipes) {
	r, w := io.Pipe()
	s, v := io.Pipe()
	return pipes{r, v}, pipes{s, w}
}

func TestJoinTakesAHalfThatIsNotTCP(t *testing.T) {
	j := newJoints(t)
	near, far, fromNear := opened(t, chunkSize)
	tool, proxy := pipesPair()
	outcome := j.join(t, near, proxy)
	for range 3 {
		_, _ = tool.Write([]byte("to"))
		wantData(t, fromNear, []byte("to"))
		time.Sleep(2 * shortPatience)
		put(t, far, dataChunk([]byte("from")))
		got := make([]byte, 4)
		if _, err := io.ReadFull(tool, got); err != nil || string(got) != "from" {
			t.Errorf("the tool read %q and %v; want what the far end sent", got, err)
		}
	}
	_ = tool.CloseWrite()
	if end := wantControl(t, fromNear); end.GetEnd() == nil {
		t.Errorf("the far end was told %v; want End", end)
	}
	put(t, far, dataChunk([]byte("more")), controlChunk(endChunk()))
	wantAll(t, "the tool", tool, []byte("more"))
	if got, want := outcomeOf(t, outcome), (Outcome{ToTunnel: 6, FromTunnel: 16}); got != want {
		t.Errorf("the outcome is %+v; want %+v", got, want)
	}
}

func TestJoinTakesAnotherTunnelForAHalf(t *testing.T) {
	j := newJoints(t)
	a, b := memPipe(1000)
	near, middle := handshake(t, a, b)
	c, d := memPipe(1000)
	next, far := handshake(t, c, d)
	outcome := j.join(t, next, middle)
	for range 3 {
		go near.Write(pattern(3000))
		if got := make([]byte, 3000); !readsFull(far, got) || !bytes.Equal(got, pattern(3000)) {
			t.Errorf("the far end did not get what the near one wrote")
		}
		time.Sleep(2 * shortPatience)
		go far.Write(pattern(2000))
		if got := make([]byte, 2000); !readsFull(near, got) || !bytes.Equal(got, pattern(2000)) {
			t.Errorf("the near end did not get what the far one wrote")
		}
	}
	_ = near.CloseWrite()
	wantAll(t, "the far end", far, nil)
	_ = far.CloseWrite()
	wantAll(t, "the near end", near, nil)
	if got, want := outcomeOf(t, outcome), (Outcome{ToTunnel: 9000, FromTunnel: 6000}); got != want {
		t.Errorf("the outcome is %+v; want %+v", got, want)
	}
	_ = near.Close()
	_ = far.Close()
}

func readsFull(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}

// pauses writes b in small pieces, with pauses about as long as a tunnel's patience.
func pauses(random *rand.Rand, w io.Writer, b []byte) {
	for len(b) > 0 {
		n := min(len(b), 1+random.IntN(1+1<<random.IntN(13)))
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
		switch random.IntN(4) {
		case 0:
			time.Sleep(time.Duration(random.Int64N(int64(2 * shortPatience))))
		case 1:
			time.Sleep(shortPatience + time.Duration(random.Int64N(400)-200)*time.Microsecond)
		}
	}
}

// side is what the tool, or the target, of one tunnel does.
type side struct {
	conn       *net.TCPConn
	sends, got []byte
	err        error
}

// talk sends, half-closes, and reads all meanwhile.
func (s *side) talk(random *rand.Rand) {
	var sending sync.WaitGroup
	sending.Go(func() {
		pauses(random, s.conn, s.sends)
		_ = s.conn.CloseWrite()
	})
	s.got, s.err = io.ReadAll(s.conn)
	sending.Wait()
}

// relayed is a tool and a target with a tunnel in between, all of one Joiner.
func (j *joints) relayed(t *testing.T, window int) relay {
	t.Helper()
	a, b := memPipe(window)
	near, far := handshake(t, a, b)
	tool, proxy := tcpPair(t)
	server, target := tcpPair(t)
	for _, c := range []*net.TCPConn{tool, target} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return relay{tool, target, j.join(t, near, proxy), j.join(t, far, server)}
}

func TestTunnelsLoseNothingAroundTheMomentTheyBecomeIdle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	j := newJoints(t)
	var all sync.WaitGroup
	for i := range 60 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		r := j.relayed(t, []int{1000, chunkSize, 4 * chunkSize}[i%3])
		tool := &side{conn: r.tool, sends: pattern(random.IntN(30_000))}
		target := &side{conn: r.target, sends: pattern(random.IntN(30_000))}
		toolDice, targetDice := rand.New(rand.NewPCG(seed+1, uint64(i))), rand.New(rand.NewPCG(seed+2, uint64(i)))
		all.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { tool.talk(toolDice) })
			both.Go(func() { target.talk(targetDice) })
			both.Wait()
			if target.err != nil || !bytes.Equal(target.got, tool.sends) {
				t.Errorf("tunnel %d: the target got %d bytes and %v; want the tool's %d in order, then EOF", i, len(target.got), target.err, len(tool.sends))
			}
			if tool.err != nil || !bytes.Equal(tool.got, target.sends) {
				t.Errorf("tunnel %d: the tool got %d bytes and %v; want the target's %d in order, then EOF", i, len(tool.got), tool.err, len(target.sends))
			}
			r.wantOutcome(t, len(tool.sends), len(target.sends))
		})
	}
	all.Wait()
	j.rest(t)
}

func TestTunnelsThatAreResetAroundTheMomentTheyBecomeIdleEnd(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	j := newJoints(t)
	var all sync.WaitGroup
	for i := range 100 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		r := j.relayed(t, chunkSize)
		sides := []*net.TCPConn{r.tool, r.target}
		random.Shuffle(2, func(i, k int) { sides[i], sides[k] = sides[k], sides[i] })
		talks, ends := random.IntN(2) == 0, random.IntN(3) == 0
		pause := time.Duration(random.Int64N(int64(3 * shortPatience)))
		all.Go(func() {
			if talks {
				_, _ = sides[1].Write([]byte("something"))
				_, _ = io.ReadFull(sides[0], make([]byte, len("something")))
			}
			if ends { // the one direction in order, at about the same time
				_ = sides[1].CloseWrite()
			}
			time.Sleep(pause)
			sendReset(sides[0])
			if _, err := io.Copy(io.Discard, sides[1]); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("tunnel %d: the other side read %v; want ECONNRESET", i, err)
			}
			for _, end := range []<-chan Outcome{r.atNear, r.atFar} {
				if out := <-end; out.Err == nil {
					t.Errorf("tunnel %d: an outcome has no error; want one at both ends", i)
				}
			}
		})
	}
	all.Wait()
	j.rest(t)
}

// feed is a stream of which only a part has come.
type feed struct {
	come []byte
	most int  // how much a Read brings
	dry  bool // a Read found nothing
}

var errDry = errors.New("nothing has come")

func (f *feed) Read(p []byte) (int, error) {
	if f.dry = len(f.come) == 0; f.dry {
		return 0, errDry
	}
	n := copy(p[:min(len(p), f.most)], f.come)
	f.come = f.come[n:]
	return n, nil
}

// advances reports whether a decoder would get anywhere without its source.
func advances(d decoder) bool {
	nothing := &feed{}
	d.src, d.control = nothing, slices.Clone(d.control)
	held := d.hi - d.lo
	var err error
	if d.left > 0 {
		_, err = d.Read(make([]byte, 10))
	} else {
		_, err = d.next()
	}
	return !nothing.dry || d.hi-d.lo < held || err == nil
}

// An idle tunnel whose decoder is ready must not be left to its stream, and one
// whose decoder is not must not be run in vain.
func TestDecoderIsReadyWhenItCanGoOnWithoutItsSource(t *testing.T) {
	var all []byte
	for _, n := range []int{0, 1, 50, 300} {
		all = append(all, dataChunk(pattern(n))...)
		for _, chunk := range controlChunks() {
			all = append(all, controlChunk(chunk)...)
		}
	}
	all = append(all, controlChunk(abortChunk(AbortReset, strings.Repeat("x", 200)))...)
	headers := len(all) + headroom // inside the last chunk all prefixes are alike
	all = append(all, dataChunk(pattern(20_000))...)
	wrong := binary.AppendUvarint(announced(maxData+5, dataTag), maxData+1)
	for name, input := range map[string][]byte{"chunks": all, "a chunk that is refused": append(dataChunk(pattern(5)), wrong...)} {
		for _, most := range []int{1, 2, 7, 64, 1000} {
			for end := range len(input) + 1 {
				if most < 64 && end < len(input) || end > headers && end < len(input)-3 {
					continue // a source of such small pieces shows all prefixes by itself
				}
				checkReady(t, name, &decoder{src: &feed{come: input[:end], most: most}})
			}
		}
	}
}

// checkReady decodes what has come, and looks at every state in between.
func checkReady(t *testing.T, name string, d *decoder) {
	t.Helper()
	f := d.src.(*feed)
	buf := make([]byte, 100)
	for !f.dry {
		if got, want := d.ready(), advances(*d); got != want {
			t.Fatalf("%s: ready is %v with %x in the buffer, %d bytes of data and %d of a control chunk to come; want %v",
				name, got, d.buf[d.lo:d.hi], d.left, d.missing, want)
		}
		var err error
		if d.left > 0 {
			_, err = d.Read(buf)
		} else {
			_, err = d.next()
		}
		if err != nil && err != errDry {
			return
		}
	}
	if d.ready() {
		t.Fatalf("%s: ready with %x in the buffer, after all that was there has been taken; want false", name, d.buf[d.lo:d.hi])
	}
}

// The system reports a reset once. If a write to the tool has met it, reading sees an
// end, which must not reach the far end as one.
func TestResetThatAWriteHasSeenIsNoEnd(t *testing.T) {
	j := newJoints(t)
	near, _, fromNear := opened(t, chunkSize)
	tool, proxy := tcpPair(t)
	sendReset(tool)
	if _, err := proxy.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) { // as outward's may
		t.Fatalf("Write: %v; want ECONNRESET, which the system reports once", err)
	}
	outcome := j.join(t, near, proxy)
	if chunk := wantControl(t, fromNear); chunk.GetAbort() == nil {
		t.Errorf("the far end was told %v; want an abort", chunk)
	}
	_ = near.Abort(AbortCanceled, "")
	outcomeOf(t, outcome)
}
