package mux

import (
	"sync"
	"time"
)

// calmTime is how long a stream must not have been read from to be shrunk.
const calmTime = time.Second

// shrinker gives back what yamux holds for streams that were busy: a stream keeps
// its buffer, twice the size of what was once in it, for as long as it lives. It
// looks after a session's streams with one goroutine, which ends with the session.
type shrinker struct {
	calm func()        // called when no stream is busy any more
	stir chan struct{} // holds a token when a stream has become busy

	mu   sync.Mutex // guards what follows
	busy map[*Stream]uint32
}

func newShrinker(calm func()) *shrinker {
	return &shrinker{calm: calm, stir: make(chan struct{}, 1), busy: make(map[*Stream]uint32)}
}

// add notes that a stream is busy.
func (s *shrinker) add(stream *Stream) {
	s.mu.Lock()
	s.busy[stream] = stream.reads.Load() - 1 // the next sweep is too early to find it calm
	s.mu.Unlock()
	select {
	case s.stir <- struct{}{}:
	default:
	}
}

// forget takes back add: the stream is closed.
func (s *shrinker) forget(stream *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, stream)
}

// run is the shrinker's goroutine.
func (s *shrinker) run(ended <-chan struct{}) {
	tick := time.NewTicker(calmTime)
	defer tick.Stop()
	for {
		select {
		case <-s.stir:
			tick.Reset(calmTime)
		case <-ended:
			return
		}
		for s.sweep() > 0 {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
		call(s.calm)
	}
}

// sweep shrinks the streams that have been calm since the last time, and returns how
// many are still busy.
func (s *shrinker) sweep() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream, reads := range s.busy {
		now := stream.reads.Load()
		if now != reads {
			s.busy[stream] = now
			continue
		}
		delete(s.busy, stream)
		stream.swollen.Store(false)
		stream.yam.Shrink()
	}
	return len(s.busy)
}
