package mux

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// initialWindow is what a yamux peer may send on a new stream, unasked. No
	// window is smaller.
	initialWindow = 256 << 10
	// modestWindow is what any stream may grow to, however short the round trip.
	modestWindow = 1 << 20
	// fastLink is the rate in bytes per second that a window must not get in the
	// way of.
	fastLink = 1_000_000_000 / 8
	// unknownTrip stands for a round trip that has not been measured yet.
	unknownTrip = 100 * time.Millisecond
	// yamuxWindow is the window as yamux has it. It is wide enough never to
	// matter: yamux renews its windows by halves, and ours are what counts.
	yamuxWindow = 1 << 30
)

// windows are the receive windows of a session's streams: how much the peer may
// send on each before it has been read. In yamux all have one size for good, and
// whoever wants a fast stream over a long distance has to give every stream that
// much memory. So windows takes yamux's place here, on this end alone: the peer
// sees nothing but window updates.
//
// Each window begins with initialWindow, and follows what its reader takes in a
// round trip: a reader that is fast gets more, one that has become slow gives it
// back as it reads, and one that takes nothing never gets any. All that goes
// beyond initialWindow comes from one purse. So n streams that nobody reads pin n
// times initialWindow and the purse, whatever the peer does.
type windows struct {
	limit int // of any window, over any distance

	mu      sync.Mutex // guards what follows, and every window's size and credit
	streams map[uint32]*window
	purse   int  // by how much windows may still grow
	over    bool // the session has ended
}

// window is the receive window of one stream.
type window struct {
	size   int    // how far the peer may be ahead of the reader
	credit int    // how much of that it has not used
	halves int    // directions that have ended
	wake   func() // called when there is something to read; or nil

	arrived atomic.Uint64 // bytes that have come, or are about to
	ended   atomic.Bool   // nothing more comes

	// The reader's own:
	read  int       // bytes taken since the last renewal
	since time.Time // when that was; at first, when the first byte was read
	taken uint64    // bytes taken in all
}

func newWindows(limit, purse int) *windows {
	return &windows{limit: limit, purse: purse, streams: make(map[uint32]*window)}
}

// outgoing takes in the header of a frame that yamux sends. It reports whether
// the frame is to be sent: yamux's own window updates are not, and those that
// open a stream raise nothing.
func (w *windows) outgoing(header []byte) bool {
	flags := yamuxFlags(header)
	if flags != 0 {
		w.follow(header)
	}
	if header[yamuxTypeAt] != yamuxWindowUpdate {
		return true
	}
	binary.BigEndian.PutUint32(header[yamuxLengthAt:], 0)
	return flags != 0
}

// follow takes in the flags of a frame that yamux sends.
func (w *windows) follow(header []byte) {
	w.mu.Lock()
	one := w.flagged(yamuxStream(header), yamuxFlags(header))
	if one != nil && yamuxFlags(header)&yamuxRST != 0 {
		one.ended.Store(true)
	}
	wake := one.due()
	w.mu.Unlock()
	call(wake)
}

// incoming takes in the header of a frame that the peer has sent.
func (w *windows) incoming(header []byte) error {
	w.mu.Lock()
	one, err := w.arrive(header)
	wake := one.due()
	w.mu.Unlock()
	call(wake)
	return err
}

// due returns what is to be called because the window's stream has become readable;
// nil: nothing. It is called with windows' mu held.
func (one *window) due() (wake func()) {
	if one != nil && one.wake != nil && one.readable() {
		wake, one.wake = one.wake, nil
	}
	return wake
}

// arrive is called with mu held. It returns the window of the frame's stream, or
// nil: then yamux throws the frame away.
func (w *windows) arrive(header []byte) (*window, error) {
	flags := yamuxFlags(header)
	one := w.flagged(yamuxStream(header), flags)
	if one == nil {
		return nil, nil
	}
	if flags&(yamuxFIN|yamuxRST) != 0 {
		one.ended.Store(true)
	}
	if header[yamuxTypeAt] != yamuxData {
		return one, nil
	}
	size := yamuxLength(header)
	if int64(size) > int64(one.credit) {
		return nil, protocolError("more data on a stream than its window allows")
	}
	one.credit -= int(size)
	one.arrived.Add(uint64(size))
	return one, nil
}

// flagged notes that a stream begins or ends, at either end, and returns its window.
// It is called with mu held.
func (w *windows) flagged(stream uint32, flags uint16) *window {
	one := w.streams[stream]
	if one == nil {
		if flags&yamuxSYN == 0 {
			return nil
		}
		one = &window{size: initialWindow, credit: initialWindow}
		one.ended.Store(w.over)
		w.streams[stream] = one
	}
	if flags&yamuxFIN != 0 {
		one.halves++
	}
	if flags&yamuxRST != 0 {
		one.halves = 2
	}
	if one.halves == 2 {
		w.purse += one.size - initialWindow
		delete(w.streams, stream)
	}
	return one
}

// end notes that the session has ended.
func (w *windows) end() {
	w.mu.Lock()
	w.over = true
	var wakes []func()
	for _, one := range w.streams {
		one.ended.Store(true)
		wakes = append(wakes, one.due())
	}
	w.mu.Unlock()
	for _, wake := range wakes {
		call(wake)
	}
}

// readable reports whether a Read would return, or is just about to. It is called
// by the reader, or with windows' mu held.
func (one *window) readable() bool { return one.ended.Load() || one.arrived.Load() > one.taken }

// whenReadable has wake called once a window's stream is readable, and reports true,
// unless it is already.
func (w *windows) whenReadable(one *window, wake func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one.readable() {
		return false
	}
	one.wake = wake
	return true
}

// of returns the window of a stream; nil if it is gone already.
func (w *windows) of(stream uint32) *window {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.streams[stream]
}

// consumed notes that the reader has taken n bytes, and returns how much more the
// peer may send now: nothing, until it is worth a frame.
func (w *windows) consumed(one *window, n int, trip time.Duration) int {
	one.taken += uint64(n)
	if one.since.IsZero() {
		one.since = time.Now()
	}
	if one.read += n; one.read < initialWindow/2 {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if one.read < one.size/2 || one.halves > 0 {
		return 0
	}
	now := time.Now()
	if trip == 0 {
		trip = unknownTrip
	}
	raise := one.read + w.resize(one, w.wanted(one.read, now.Sub(one.since), trip))
	one.credit += raise
	one.read, one.since = 0, now
	return raise
}

// wanted is the window for a reader that took so many bytes in so much time: four
// times what it takes in a round trip, so that a reader which the window holds up
// gets four times as much. What comes in a burst says less: a burst is taken to last
// for a sixteenth of a round trip at least.
func (w *windows) wanted(read int, took, trip time.Duration) int {
	largest := min(max(int(2*fastLink*trip.Seconds()), modestWindow), w.limit)
	took = max(took, trip/16)
	want := 4 * float64(read) * float64(trip) / float64(took)
	return int(min(max(want, initialWindow), float64(largest)))
}

// resize brings a window nearer to the size that is wanted, and returns by how
// much. What the peer was given can't be taken back, so a window shrinks by what
// has been read, and is not given out again. A window grows by a quarter of the purse
// at most: who comes next gets a share, too. It is called with mu held.
func (w *windows) resize(one *window, want int) int {
	change := min(want-one.size, w.purse/4)
	change = max(change, -one.read)
	one.size += change
	w.purse -= change
	return change
}
