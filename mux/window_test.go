package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// header returns the header of a yamux frame.
func header(kind byte, flags uint16, stream, length uint32) []byte {
	h := yamuxFrame(kind, length)
	binary.BigEndian.PutUint16(h[yamuxFlagsAt:], flags)
	binary.BigEndian.PutUint32(h[yamuxStreamAt:], stream)
	return h
}

// comes has a frame come from the peer that must be allowed.
func (w *windows) comes(t *testing.T, kind byte, flags uint16, stream, length uint32) {
	t.Helper()
	if err := w.incoming(header(kind, flags, stream, length)); err != nil {
		t.Fatalf("a frame of type %d with flags %d and length %d: %v; want it to be taken", kind, flags, length, err)
	}
}

// opened returns windows with one stream, 1, that the peer has opened.
func opened(t *testing.T, limit, purse int) (*windows, *window) {
	t.Helper()
	w := newWindows(limit, purse)
	w.comes(t, yamuxWindowUpdate, yamuxSYN, 1, 0)
	one := w.of(1)
	if one == nil {
		t.Fatal("a stream that was opened has no window")
	}
	return w, one
}

// wantWhole checks that all that was lent has been given back.
func wantWhole(t *testing.T, w *windows, purse int) {
	t.Helper()
	if len(w.streams) != 0 || w.purse != purse {
		t.Errorf("%d streams and a purse of %d are left; want none, and %d: all streams have ended",
			len(w.streams), w.purse, purse)
	}
}

// wantBalance checks that a window's parts add up: what the peer may still send, what
// nobody has read yet, and what has been read without the peer's knowing.
func wantBalance(t *testing.T, one *window) {
	t.Helper()
	unread := int(one.arrived.Load() - one.taken)
	if got := one.credit + unread + one.read; got != one.size {
		t.Fatalf("credit %d, unread %d and read %d are %d; want the size %d", one.credit, unread, one.read, got, one.size)
	}
}

func TestYamuxHasNoSayInWindows(t *testing.T) {
	for name, test := range map[string]struct {
		kind   byte
		flags  uint16
		length uint32
		pass   bool
		want   uint32
	}{
		"a window update":             {yamuxWindowUpdate, 0, 1 << 29, false, 0},
		"an opening":                  {yamuxWindowUpdate, yamuxSYN, yamuxWindow - initialWindow, true, 0},
		"its confirmation":            {yamuxWindowUpdate, yamuxACK, yamuxWindow - initialWindow, true, 0},
		"a stream's end":              {yamuxWindowUpdate, yamuxFIN, 0, true, 0},
		"a stream's end with a raise": {yamuxWindowUpdate, yamuxFIN, 1000, true, 0},
		"a reset":                     {yamuxWindowUpdate, yamuxRST, 0, true, 0},
		"data":                        {yamuxData, 0, 1 << 20, true, 1 << 20},
		"data that opens a stream":    {yamuxData, yamuxSYN, 1000, true, 1000},
		"a go-away":                   {yamuxGoAway, 0, 1, true, 1},
	} {
		w := newWindows(1<<20, 1<<20)
		h := header(test.kind, test.flags, 1, test.length)
		want := slices.Clone(h)
		binary.BigEndian.PutUint32(want[yamuxLengthAt:], test.want)
		pass := w.outgoing(h)
		if pass != test.pass {
			t.Errorf("%s passed: %v; want %v, only ours may widen a window", name, pass, test.pass)
		}
		if pass && !slices.Equal(h, want) {
			t.Errorf("%s went out as %x; want %x", name, h, want)
		}
	}
}

func TestPeerMayUseItsCreditAndNoMore(t *testing.T) {
	for name, open := range map[string]func(*windows) error{
		"the peer":  func(w *windows) error { return w.incoming(header(yamuxWindowUpdate, yamuxSYN, 1, 0)) },
		"this end":  func(w *windows) error { w.outgoing(header(yamuxWindowUpdate, yamuxSYN, 1, 0)); return nil },
		"some data": func(w *windows) error { return w.incoming(header(yamuxData, yamuxSYN, 1, 0)) },
	} {
		w := newWindows(1<<20, 1<<20)
		if err := open(w); err != nil {
			t.Fatalf("opened by %s: %v", name, err)
		}
		w.comes(t, yamuxData, 0, 1, initialWindow-1)
		w.comes(t, yamuxData, 0, 1, 1)
		w.comes(t, yamuxData, 0, 1, 0)
		var wrong protocolError
		if err := w.incoming(header(yamuxData, 0, 1, 1)); !errors.As(err, &wrong) {
			t.Errorf("opened by %s: a byte beyond 256 KiB: %v; want a protocol error", name, err)
		}
	}
	for _, length := range []uint32{initialWindow + 1, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		w, _ := opened(t, 1<<20, 1<<20)
		var wrong protocolError
		if err := w.incoming(header(yamuxData, 0, 1, length)); !errors.As(err, &wrong) {
			t.Errorf("%d bytes at once: %v; want a protocol error", length, err)
		}
	}
}

func TestRaiseIsTheCreditThatThePeerGets(t *testing.T) {
	w, one := opened(t, 1<<20, 1<<20)
	w.comes(t, yamuxData, 0, 1, initialWindow)
	raise := w.consumed(one, initialWindow, 0)
	if raise < initialWindow {
		t.Fatalf("all was read at once, and the peer may send %d more; want 256 KiB at least", raise)
	}
	w.comes(t, yamuxData, 0, 1, uint32(raise))
	if err := w.incoming(header(yamuxData, 0, 1, 1)); err == nil {
		t.Errorf("a byte beyond the raise of %d was taken; want a protocol error", raise)
	}
}

func TestSmallReadsAreNotWorthAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one := opened(t, 1<<20, 1<<20)
		w.comes(t, yamuxData, 0, 1, initialWindow)
		if raise := w.consumed(one, initialWindow/2-1, time.Second); raise != 0 {
			t.Errorf("less than half of the window was read, and the peer may send %d more; want nothing yet", raise)
		}
		time.Sleep(time.Hour)
		if raise := w.consumed(one, 1, time.Second); raise != initialWindow/2 {
			t.Errorf("half of the window was read, and the peer may send %d more; want as much again, %d: the reader is slow",
				raise, initialWindow/2)
		}
	})
}

// reader is a peer with endless data behind a simulated path, and a reader that takes
// what comes at a certain rate.
type reader struct {
	w       *windows
	one     *window
	trip    time.Duration
	budget  int   // what the peer may send
	renewed []int // what it may send in addition, one round trip later; per step
}

const step = time.Millisecond

func newReader(t *testing.T, limit, purse int, trip time.Duration) *reader {
	w, one := opened(t, limit, purse)
	return &reader{w, one, trip, initialWindow, make([]int, trip/step)}
}

// run lets time pass, in which rate bytes per second go through at most, and returns
// how many have.
func (r *reader) run(t *testing.T, d time.Duration, rate float64) (total int) {
	t.Helper()
	most := int(rate * step.Seconds())
	for range d / step {
		time.Sleep(step)
		r.budget += r.renewed[0]
		r.renewed = append(r.renewed[1:], 0)
		n := min(r.budget, most)
		r.budget -= n
		total += n
		r.w.comes(t, yamuxData, 0, 1, uint32(n))
		for n > 0 {
			piece := min(n, 32<<10)
			n -= piece
			r.renewed[len(r.renewed)-1] += r.w.consumed(r.one, piece, r.trip)
		}
		wantBalance(t, r.one)
		if r.one.size < initialWindow {
			t.Fatalf("the window is %d; want 256 KiB at least", r.one.size)
		}
	}
	return total
}

func TestWindowGrowsForAFastReaderAndShrinksForASlowOne(t *testing.T) {
	for _, trip := range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := newReader(t, 64<<20, 256<<20, trip)
			r.run(t, 20*trip, fastLink)
			took := 10 * trip
			total := r.run(t, took, fastLink)
			if used := float64(total) / took.Seconds() / fastLink; used < 0.95 {
				t.Errorf("%v: a fast reader got %.0f %% of 1 Gbit/s after 20 round trips; want 95 at least, the window should not hold it up",
					trip, 100*used)
			}
			need := int(2 * fastLink * trip.Seconds())
			if largest := max(need, modestWindow); r.one.size > largest {
				t.Errorf("%v: the window is %d; want %d at most, 1 Gbit/s needs no more", trip, r.one.size, largest)
			}
			if r.one.size < need/2 {
				t.Errorf("%v: the window is %d; want what 1 Gbit/s has on its way at least, %d", trip, r.one.size, need/2)
			}
			r.run(t, time.Minute, 1<<20)
			if r.one.size > 2*initialWindow {
				t.Errorf("%v: the window of a reader of 1 MiB/s is %d; want it near 256 KiB again", trip, r.one.size)
			}
			if want := 256<<20 - (r.one.size - initialWindow); r.w.purse != want {
				t.Errorf("%v: the purse is %d; want %d, what the window gave up came back", trip, r.w.purse, want)
			}
		})
	}
}

func TestWindowStaysWithinItsLimit(t *testing.T) {
	for _, limit := range []int{initialWindow, 1 << 20, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			r := newReader(t, limit, 256<<20, 100*time.Millisecond)
			r.run(t, 3*time.Second, fastLink)
			if r.one.size != limit {
				t.Errorf("the window of a fast reader is %d; want the limit, %d", r.one.size, limit)
			}
		})
	}
}

func TestReaderOfAnUnknownDistanceGetsMore(t *testing.T) {
	w, one := opened(t, 16<<20, 32<<20)
	w.comes(t, yamuxData, 0, 1, initialWindow)
	w.consumed(one, initialWindow, 0)
	if one.size <= initialWindow {
		t.Errorf("the window of a reader that took all at once is %d; want more than 256 KiB although no round trip is known", one.size)
	}
}

func TestNobodyGetsMoreWithoutReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const purse = 1 << 20
		w := newWindows(16<<20, purse)
		for id := range uint32(100) {
			w.comes(t, yamuxWindowUpdate, yamuxSYN, id, 1<<30) // the peer asks for a lot, in vain
			w.comes(t, yamuxWindowUpdate, 0, id, 1<<30)
			w.comes(t, yamuxData, 0, id, initialWindow)
			time.Sleep(time.Second)
		}
		for id, one := range w.streams {
			if one.size != initialWindow || one.credit != 0 {
				t.Errorf("stream %d has a window of %d and %d to go; want 256 KiB, and nothing: nobody reads", id, one.size, one.credit)
			}
		}
		if w.purse != purse {
			t.Errorf("the purse is %d; want all of %d", w.purse, purse)
		}
	})
}

// One reader after the other turns out to be fast: each gets something.
func TestPurseIsNotForTheFirstAlone(t *testing.T) {
	w := newWindows(64<<20, 8<<20)
	for id := range uint32(8) {
		w.comes(t, yamuxWindowUpdate, yamuxSYN, id, 0)
		w.comes(t, yamuxData, 0, id, initialWindow)
		w.consumed(w.of(id), initialWindow, time.Second)
		if size := w.of(id).size; size < 2*initialWindow {
			t.Errorf("fast reader %d has a window of %d; want it to have grown", id, size)
		}
	}
}

// It is what makes ferry's memory bounded, so it is tried with everything that may
// happen, in any order.
func TestWindowsNeverExceedThePurse(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			const purse = 4 << 20
			r := rand.New(rand.NewPCG(seed, 0))
			w := newWindows(2<<20, purse)
			known := map[uint32]*window{}
			for range 3000 {
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				stream := uint32(r.IntN(30))
				one := w.of(stream)
				if one == nil {
					one = known[stream] // somebody may still be reading it
				}
				operate(t, r, w, stream, one)
				if one := w.of(stream); one != nil {
					known[stream] = one
				}
				wantBounded(t, w, known, purse)
			}
			for stream := range uint32(30) {
				w.comes(t, yamuxWindowUpdate, yamuxRST, stream, 0)
			}
			wantWhole(t, w, purse)
		})
	}
}

// operate does something to a stream, which may be over.
func operate(t *testing.T, r *rand.Rand, w *windows, stream uint32, one *window) {
	t.Helper()
	flags := [...]uint16{yamuxFIN, yamuxFIN, yamuxRST}[r.IntN(3)]
	switch do := r.IntN(100); {
	case do < 5:
		w.comes(t, yamuxWindowUpdate, yamuxSYN, stream, 0)
	case do < 10:
		w.outgoing(header(yamuxWindowUpdate, yamuxSYN, stream, yamuxWindow))
	case do < 12:
		w.comes(t, yamuxWindowUpdate, flags, stream, 0)
	case do < 14:
		w.outgoing(header(yamuxWindowUpdate, flags, stream, 0))
	case one == nil:
	case do < 55 && w.of(stream) != nil:
		w.comes(t, yamuxData, 0, stream, uint32(r.IntN(one.credit+1)))
	default:
		if unread := int(one.arrived.Load() - one.taken); unread > 0 {
			raise := w.consumed(one, 1+r.IntN(unread), time.Duration(r.IntN(200))*time.Millisecond)
			if raise < 0 || raise > 0 && w.of(stream) != one {
				t.Fatalf("the peer may send %d more; want nothing less than 0, and nothing for a stream that is over", raise)
			}
		}
	}
}

func wantBounded(t *testing.T, w *windows, known map[uint32]*window, purse int) {
	t.Helper()
	sum := 0
	for _, one := range w.streams {
		sum += one.size
		if one.size < initialWindow || one.size > w.limit || one.credit < 0 {
			t.Fatalf("a window of %d with %d to go; want between 256 KiB and %d, and never a debt", one.size, one.credit, w.limit)
		}
	}
	for _, one := range known {
		wantBalance(t, one)
	}
	if most := len(w.streams)*initialWindow + purse; sum > most || sum+w.purse != most {
		t.Fatalf("%d windows are %d and the purse is %d; want %d together", len(w.streams), sum, w.purse, most)
	}
}

func TestEndOfAStreamGivesBackWhatItHad(t *testing.T) {
	type end struct {
		incoming bool
		flags    uint16
	}
	for name, ends := range map[string][]end{
		"the peer, then this end": {{true, yamuxFIN}, {false, yamuxFIN}},
		"this end, then the peer": {{false, yamuxFIN}, {true, yamuxFIN}},
		"a reset by the peer":     {{true, yamuxRST}},
		"a reset by this end":     {{false, yamuxRST}},
		"an end and a reset":      {{true, yamuxFIN}, {false, yamuxRST}},
		"a reset that crosses":    {{true, yamuxRST}, {false, yamuxRST}, {false, yamuxFIN}},
	} {
		const purse = 8 << 20
		w, one := opened(t, 16<<20, purse)
		w.comes(t, yamuxData, 0, 1, initialWindow)
		w.consumed(one, initialWindow, 100*time.Millisecond)
		if w.purse == purse {
			t.Fatalf("%s: a fast reader took nothing from the purse", name)
		}
		for _, e := range ends {
			if e.incoming {
				w.comes(t, yamuxWindowUpdate, e.flags, 1, 0)
			} else {
				w.outgoing(header(yamuxWindowUpdate, e.flags, 1, 0))
			}
		}
		wantWhole(t, w, purse)
		if raise := w.consumed(one, initialWindow, time.Second); raise != 0 {
			t.Errorf("%s: who reads the rest lets the peer send %d more; want nothing", name, raise)
		}
		wantWhole(t, w, purse)
	}
}

func TestHalfClosedStreamMayStillSend(t *testing.T) {
	w, _ := opened(t, 1<<20, 1<<20)
	w.outgoing(header(yamuxWindowUpdate, yamuxFIN, 1, 0))
	w.comes(t, yamuxData, 0, 1, initialWindow)
	if err := w.incoming(header(yamuxData, 0, 1, 1)); err == nil {
		t.Errorf("data over the credit was taken after this end's FIN; want a protocol error")
	}
}

func TestFramesOfUnknownStreamsAreIgnored(t *testing.T) {
	w := newWindows(1<<20, 1<<20)
	w.comes(t, yamuxData, 0, 7, 1<<31)
	for _, flags := range []uint16{0, yamuxACK, yamuxFIN, yamuxRST} {
		w.comes(t, yamuxWindowUpdate, flags, 7, 1<<31)
		w.outgoing(header(yamuxWindowUpdate, flags, 7, 0))
	}
	if w.of(7) != nil {
		t.Error("a stream that nobody opened has a window")
	}
	wantWhole(t, w, 1<<20)
}

func TestStreamThatIsOpenedAgainBeginsAnew(t *testing.T) {
	w, one := opened(t, 1<<20, 1<<20)
	w.comes(t, yamuxData, 0, 1, initialWindow)
	w.comes(t, yamuxWindowUpdate, yamuxRST, 1, 0)
	w.comes(t, yamuxWindowUpdate, yamuxSYN, 1, 0)
	if again := w.of(1); again == one || again.credit != initialWindow {
		t.Errorf("the second stream of the same id has the first one's window; want a new one")
	}
}

// waker counts the calls of wake.
type waker struct{ calls int }

func (w *waker) wake() { w.calls++ }

func TestWhoWaitsIsWokenOnce(t *testing.T) {
	for name, come := range map[string]func(t *testing.T, w *windows){
		"data":                 func(t *testing.T, w *windows) { w.comes(t, yamuxData, 0, 1, 1) },
		"the end":              func(t *testing.T, w *windows) { w.comes(t, yamuxWindowUpdate, yamuxFIN, 1, 0) },
		"a reset":              func(t *testing.T, w *windows) { w.comes(t, yamuxWindowUpdate, yamuxRST, 1, 0) },
		"data that is the end": func(t *testing.T, w *windows) { w.comes(t, yamuxData, yamuxFIN, 1, 0) },
		"the end of all":       func(_ *testing.T, w *windows) { w.end() },
	} {
		w, one := opened(t, 1<<20, 1<<20)
		var woken waker
		if !w.whenReadable(one, woken.wake) || woken.calls != 0 {
			t.Errorf("in front of %s: nobody waits, or was woken %d times; want to wait", name, woken.calls)
		}
		w.comes(t, yamuxData, 0, 1, 0) // says nothing
		w.comes(t, yamuxWindowUpdate, 0, 1, 1000)
		if woken.calls != 0 {
			t.Errorf("in front of %s: woken although nothing has come", name)
		}
		come(t, w)
		if woken.calls != 1 || !one.readable() {
			t.Errorf("%s woke the reader %d times, readable: %v; want once, and that it is", name, woken.calls, one.readable())
		}
		if w.whenReadable(one, woken.wake) {
			t.Errorf("behind %s one can wait; want false, there is something to read", name)
		}
		w.comes(t, yamuxWindowUpdate, yamuxRST, 1, 0)
		w.end()
		if woken.calls != 1 {
			t.Errorf("%s, and what came behind, woke the reader %d times; want once", name, woken.calls)
		}
	}
}

func TestReaderWaitsAgainOnceItHasReadAll(t *testing.T) {
	w, one := opened(t, 1<<20, 1<<20)
	var woken waker
	for i := range 3 {
		if !w.whenReadable(one, woken.wake) {
			t.Fatalf("round %d: nobody can wait; want to, all was read", i)
		}
		w.comes(t, yamuxData, 0, 1, 10)
		w.comes(t, yamuxData, 0, 1, 10)
		if w.consumed(one, 15, 0); !one.readable() {
			t.Errorf("round %d: not readable; want it, 5 bytes are left", i)
		}
		w.consumed(one, 5, 0)
	}
	if woken.calls != 3 {
		t.Errorf("woken %d times; want once in each of 3 rounds", woken.calls)
	}
}

func TestEndOfAllWakesEverybodyOnce(t *testing.T) {
	w := newWindows(1<<20, 1<<20)
	var woken [50]waker
	for id := range uint32(len(woken)) {
		w.comes(t, yamuxWindowUpdate, yamuxSYN, id, 0)
		w.whenReadable(w.of(id), woken[id].wake)
	}
	w.end()
	w.end()
	for id := range woken {
		if woken[id].calls != 1 {
			t.Errorf("reader %d was woken %d times; want once", id, woken[id].calls)
		}
	}
	w.outgoing(header(yamuxWindowUpdate, yamuxSYN, 1000, 0))
	if !w.of(1000).readable() {
		t.Errorf("a stream that is opened after the end is not readable; want it, Read says why it has ended")
	}
}

func TestWakeMayUseTheWindows(t *testing.T) {
	w, one := opened(t, 1<<20, 1<<20)
	again := true
	w.whenReadable(one, func() { again = w.whenReadable(one, nil) })
	w.comes(t, yamuxData, 0, 1, 1)
	if again {
		t.Error("in wake one can wait again; want false, the byte that has come is there")
	}
}

// rawPeer returns a session and the WebSocket of its peer, which is played by hand.
func rawPeer(t *testing.T) (*Session, *websocket.Conn) {
	t.Helper()
	sessions := make(chan *Session, 1)
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		session, _, err := NewAcceptor(AcceptConfig{}).Accept(w, r, "")
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		sessions <- session
	})
	d := websocket.Dialer{Subprotocols: []string{subprotocol}}
	ws, _, err := d.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("dialing: %v", err)
	}
	server := <-sessions
	t.Cleanup(func() {
		_ = ws.Close()
		_ = server.Close(CloseDone, "")
	})
	return server, ws
}

func TestServerDropsAPeerThatIgnoresTheWindow(t *testing.T) {
	server, ws := rawPeer(t)
	say := func(b []byte) {
		frame, _ := proto.Marshal(&relayv1.Frame{Data: b})
		_ = ws.WriteMessage(websocket.BinaryMessage, frame)
	}
	say(header(yamuxWindowUpdate, yamuxSYN, 1, 1<<30))
	piece := make([]byte, 64<<10)
	for range initialWindow / len(piece) {
		say(append(header(yamuxData, 0, 1, uint32(len(piece))), piece...))
	}
	stream, err := server.Accept()
	if err != nil {
		t.Fatalf("Accept: %v; want the stream, the peer is still within its window", err)
	}
	if n, err := io.ReadFull(stream, piece); err != nil {
		t.Fatalf("Read: %d, %v; want what has come", n, err)
	}
	select {
	case <-server.Done():
		t.Fatalf("the session ended with %v; want it alive, the window was kept", server.Err())
	default:
	}
	say(append(header(yamuxData, 0, 1, 1), 'x'))
	<-server.Done()
	var wrong protocolError
	if err := server.Err(); !errors.As(err, &wrong) {
		t.Errorf("the session ended with %v; want a protocol error", err)
	}
}

// waiting has wake called on a channel, once a stream is readable.
func waiting(t *testing.T, s *Stream) <-chan struct{} {
	t.Helper()
	woken := make(chan struct{}, 10)
	if !s.OnReadable(func() { woken <- struct{}{} }) {
		t.Fatalf("OnReadable: false; want true, there is nothing to read")
	}
	return woken
}

func TestOnReadableIsCalledForDataAndEnds(t *testing.T) {
	client, server := pair(t, Config{})
	near, err := client.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	far, err := server.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	defer near.Close()

	woken := waiting(t, near)
	mustWrite(t, far, []byte("hello"))
	<-woken
	if !near.Readable() || near.OnReadable(func() { t.Error("wake was called although there was something to read") }) {
		t.Error("Readable: false, or OnReadable: true; want it the other way round, there is something to read")
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(near, got); string(got) != "hello" || err != nil {
		t.Errorf("Read: %q, %v; want what has come", got, err)
	}
	if near.Readable() {
		t.Error("Readable: true; want false, all was read")
	}

	ended := waiting(t, near)
	_ = far.Close()
	<-ended
	if n, err := near.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read: %d, %v; want EOF, the peer has closed the stream", n, err)
	}
	if len(woken)+len(ended) != 0 {
		t.Error("wake was called more than once")
	}
}

func TestOnReadableIsCalledAtTheEndOfTheSession(t *testing.T) {
	client, server := pair(t, Config{})
	near, err := client.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer near.Close()
	far, err := server.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	defer far.Close()
	here, there := waiting(t, near), waiting(t, far)
	_ = client.Close(CloseShutdown, "")
	<-here
	<-there
	for name, s := range map[string]*Stream{"the end that closed": near, "the other end": far} {
		if !s.Readable() || s.OnReadable(func() {}) {
			t.Errorf("at %s one can wait for more; want not to, the session has ended", name)
		}
		if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("Read at %s: %v; want why the session ended", name, err)
		}
	}
}

func TestResetByThisEndWakesWhoWaits(t *testing.T) {
	w, one := opened(t, 1<<20, 1<<20)
	var woken waker
	w.whenReadable(one, woken.wake)
	w.outgoing(header(yamuxWindowUpdate, yamuxRST, 1, 0))
	w.end()
	if woken.calls != 1 {
		t.Errorf("a reset by this end, then the session's end, woke the reader %d times; want once", woken.calls)
	}
}
