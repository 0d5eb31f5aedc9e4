package mux

import "time"

const (
	// leastLimit is what may always be on its way: two of the smallest chunks.
	leastLimit = 2 * leastChunk
	// leastChunk and mostChunk bound what one stream sends in its turn, chunkTime
	// what that takes: everybody else waits so long.
	leastChunk = 16 << 10
	mostChunk  = 128 << 10
	chunkTime  = 2 * time.Millisecond

	// The queue at its shortest should hold an eighth of the round trip, within these
	// bounds: enough for the path not to run dry.
	leastQueue = 4 * time.Millisecond
	mostQueue  = 25 * time.Millisecond

	// baseAge is how long the shortest round trip is believed unseen.
	baseAge = 10 * time.Second
	// rateRounds is for how many rounds the highest rate is remembered.
	rateRounds = 8
	// maxMarks bounds how many frames on their way are timed.
	maxMarks = 1024
)

// pace finds out how many bytes may be on their way for the path to be full and no
// fuller: what is beyond that waits in a queue somewhere, and makes everybody's
// next byte wait behind it.
//
// It judges by what the peer reports of frames: how long they took to arrive. The
// least of it is the path's own, and what others take longer is spent in queues;
// the way back, which is not ours to fill, does not count (RFC 6817, LEDBAT). Once
// in two rounds (the first still shows the old limit) the limit is scaled so that
// the queue becomes what it should be, as in FAST TCP (Wei et al., 2006): from a
// queue that is too long it falls, from one that is too short it rises. Nothing is
// limited before there is a queue. As in BBR, less is sent for a moment if an empty
// queue has not been seen for long, since the shortest delay may hide a queue of our
// own making. And if cuts do not make a queue shorter, then it is the path that has
// changed, or others fill it: pace takes that for the path's own then, and lets go.
//
// Its methods are called with the Link's mu held.
type pace struct {
	most  int // the largest limit
	limit int // how many bytes may be on their way

	base   delayBase
	trip   time.Duration // the round trip of late, queues included; 0: unknown
	drain  int           // rounds for which less is sent, to see an empty queue
	cuts   cuts
	steady bool // the limit has not changed in the last round

	marks []mark // frames on their way, the oldest first
	acked uint64
	round round
	rates [rateRounds]float64 // bytes per second delivered in the last rounds
	turns int                 // rounds so far
}

// delayBase is what the path takes without a queue.
type delayBase struct {
	trip  time.Duration // there and back; 0: unknown
	delay time.Duration // there, by clocks that don't agree; known if trip is
	seen  time.Time     // when a delay was last so short
}

// cuts are a row of them that has not made the queue much shorter.
type cuts struct {
	limit int           // before the first; 0: there was none
	queue time.Duration // at the first
}

// mark is a frame on its way.
type mark struct {
	end uint64 // the offset behind its data
	at  time.Time
}

// round is the time from sending a byte to its acknowledgement.
type round struct {
	end   uint64 // the offset behind that byte; 0: no round has begun
	began time.Time
	from  uint64        // what was acknowledged then
	trip  time.Duration // the shortest round trip in it
	delay time.Duration // the shortest delay in it; 0: none was reported
	peak  int           // the most bytes that were on their way in it
}

// reset forgets the path: there is a new one, on which everything before the
// offset is acknowledged.
func (p *pace) reset(most int, acked uint64) {
	*p = pace{most: most, limit: most, marks: p.marks[:0], acked: acked}
}

// sent notes that a frame with data up to an offset is about to be written.
func (p *pace) sent(end uint64, now time.Time) {
	if len(p.marks) < maxMarks {
		p.marks = append(p.marks, mark{end, now})
	}
	if p.round.end == 0 {
		p.round = round{end: end, began: now, from: p.acked}
	}
	p.round.peak = max(p.round.peak, int(end-p.acked))
}

// received notes an acknowledgement, and the delay that came with it; 0: none.
func (p *pace) received(ack uint64, delay time.Duration, now time.Time) {
	if delay != 0 && (p.round.delay == 0 || delay < p.round.delay) {
		p.round.delay = delay
	}
	p.acked = ack
	n := 0
	for n < len(p.marks) && p.marks[n].end <= ack {
		n++
	}
	if n > 0 {
		trip := max(now.Sub(p.marks[n-1].at), time.Microsecond)
		if p.round.trip == 0 || trip < p.round.trip {
			p.round.trip = trip
		}
		p.marks = p.marks[:copy(p.marks, p.marks[n:])]
	}
	if p.round.end != 0 && ack >= p.round.end {
		p.turn(now)
	}
}

// turn ends a round, and decides what is to be different in the next.
func (p *pace) turn(now time.Time) {
	r := p.round
	p.round = round{}
	if r.trip == 0 {
		return // the frame of this round was not timed
	}
	p.rates[p.turns%rateRounds] = float64(p.acked-r.from) / max(now.Sub(r.began), time.Microsecond).Seconds()
	p.turns++
	p.trip = r.trip
	if r.delay == 0 {
		return // the peer does not report delays
	}
	p.saw(r, now)
	switch {
	case p.drain > 0:
		if p.drain--; p.drain == 0 {
			p.rebase(r, now)
		}
	case now.Sub(p.base.seen) > baseAge:
		p.drain = 2
	case p.steady:
		p.steady = !p.adjust(r, now)
	default:
		p.steady = true
	}
}

// saw compares a round with the base.
func (p *pace) saw(r round, now time.Time) {
	if p.base.trip == 0 {
		p.rebase(r, now)
	}
	p.base.trip = min(p.base.trip, r.trip)
	p.base.delay = min(p.base.delay, r.delay)
	if r.delay-p.base.delay <= p.queue()/4 {
		p.base.seen = now
	}
}

// rebase takes a round to be without a queue.
func (p *pace) rebase(r round, now time.Time) {
	p.base = delayBase{trip: r.trip, delay: r.delay, seen: now}
	p.cuts = cuts{}
}

// adjust sets the limit after a round, and reports whether it changed.
func (p *pace) adjust(r round, now time.Time) bool {
	queue := r.delay - p.base.delay
	// Half of what it takes, so that noise evens out.
	scale := 1 + float64(p.queue()-queue)/float64(r.trip)/2
	scale = min(max(scale, 0.5), 2)
	switch {
	case r.peak < leastLimit:
		return false // too little to make a queue
	case queue > p.queue():
		used := min(p.limit, r.peak)
		if p.inVain(used, queue) {
			p.set(p.cuts.limit)
			p.rebase(r, now)
		} else {
			p.set(int(scale * float64(used)))
		}
		return true
	}
	p.cuts = cuts{}
	if r.peak < p.limit/8*7 && r.peak+p.chunk() <= p.limit {
		return false // the limit holds nobody up
	}
	p.set(int(scale * float64(p.limit)))
	return true
}

// inVain takes in that so many bytes on their way make too long a queue, and reports
// whether cuts are futile: with half of the bytes gone, a queue of ours would have
// become shorter by half a round trip. One that still grows has not seen them yet.
func (p *pace) inVain(used int, queue time.Duration) bool {
	if p.cuts.limit == 0 || queue < p.cuts.queue/4*3 || queue > p.cuts.queue/4*5 {
		p.cuts = cuts{used, queue}
	}
	return used <= p.cuts.limit/2
}

func (p *pace) set(limit int) { p.limit = min(max(limit, leastLimit), p.most) }

// queue is how long the queue should be at its shortest, with the time that the path
// takes for a chunk: even an empty queue takes that.
func (p *pace) queue() time.Duration {
	chunk := time.Duration(leastChunk / max(p.rate(), 1) * float64(time.Second))
	return min(max(p.base.trip/8, leastQueue), mostQueue) + min(chunk, mostQueue)
}

// room is how many more bytes may be on their way, when there are so many.
func (p *pace) room(underway int) int {
	limit := p.limit
	if p.drain > 0 {
		limit = max(limit/4*3, leastLimit)
	}
	return limit - underway
}

// gap is how much time should be between two chunks on a slow path: acknowledgements
// that come in a bunch must not make a bunch of chunks, which is a queue at once. On a
// fast path, where a chunk takes no time to speak of, there is none.
func (p *pace) gap() time.Duration {
	if p.limit == p.most || p.chunk() > leastChunk {
		return 0
	}
	return time.Duration(0.8 * float64(p.trip) * leastChunk / float64(p.limit))
}

// rate is the highest of the last rounds in bytes per second; 0: unknown.
func (p *pace) rate() (most float64) {
	for _, rate := range p.rates {
		most = max(most, rate)
	}
	return most
}

// chunk is how much a stream should send in its turn: what the path carries in
// chunkTime.
func (p *pace) chunk() int {
	if p.turns == 0 {
		return mostChunk / 2
	}
	return min(max(int(p.rate()*chunkTime.Seconds()), leastChunk), mostChunk)
}
