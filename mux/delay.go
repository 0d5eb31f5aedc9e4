package mux

import "time"

// delays are how long frames took that came in since the last report: by this
// end's clock on arrival, less the peer's on sending. The clocks do not agree, but
// a report that is larger than another tells of a longer queue.
type delays struct {
	least int64 // in microseconds; 0: none has come
}

func (d *delays) note(delay int64) {
	if delay == 0 {
		delay = 1 // 0 would say that there is none
	}
	if d.least == 0 || delay < d.least {
		d.least = delay
	}
}

// report returns the least of them, for the peer to know.
func (d *delays) report() int64 {
	least := d.least
	d.least = 0
	return least
}

// clock is the time in microseconds since the Link was made, and never 0.
func (l *Link) clock(now time.Time) uint64 { return uint64(now.Sub(l.born).Microseconds()) + 1 }
