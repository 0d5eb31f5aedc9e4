package mux

import (
	"math/rand/v2"
	"testing"
	"time"
)

// path is a simulated way to a peer and back, in virtual time: a bottleneck with a
// queue that holds everything, and the peer's acknowledgements. A sender sends
// through it as a Link does whose streams have endless data.
//
// Under a Link there is TCP: as it starts slowly, so does the path, and once there is
// a queue it goes on more gently. But it never stops: it loses nothing, so that
// nothing but pace keeps the queue short.
type path struct {
	pace pace
	now  time.Time

	rate  float64              // of the bottleneck, in bytes per second
	way   time.Duration        // that one way takes without a queue
	extra func() time.Duration // what a frame takes longer; nil: nothing
	skew  time.Duration        // of the peer's clock
	drift float64              // by how much that changes in a second, in seconds
	mute  bool                 // the peer reports no delays
	idle  bool                 // the streams have nothing to send

	sent, acked uint64
	opening     int       // how much TCP lets out
	gentle      bool      // TCP has seen a queue
	eager       bool      // and does not care
	turnAt      time.Time // when the last chunk was sent

	queue  []simFrame // in front of the bottleneck; the first is passing it
	passed time.Time  // when the first will have passed
	flying []simFrame // behind it
	acks   []simAck   // on the way back

	came     uint64    // what the peer has
	told     uint64    // what of it was acknowledged
	toldAt   time.Time // when
	ackBy    time.Time // when it is again; or zero
	arrivals delays
	born     time.Time

	waited float64 // seconds of queue times seconds
}

type simFrame struct {
	end    uint64
	size   int
	sentAt time.Time
	at     time.Time // when it arrives
}

type simAck struct {
	ack   uint64
	delay int64
	at    time.Time
}

const testMost = 24 << 20 // pace's largest limit by default

// mbit are megabits per second, in bytes.
const mbit = 1e6 / 8

func newPath(rate float64, trip time.Duration) *path {
	start := time.Unix(1_000_000, 0)
	p := &path{now: start, born: start, rate: rate, way: trip / 2, skew: -1234567 * time.Microsecond, opening: 14600}
	p.pace.reset(testMost, 0)
	return p
}

// backlog is how long the next byte would wait in front of the bottleneck.
func (p *path) backlog() time.Duration {
	if len(p.queue) == 0 {
		return 0
	}
	bytes := 0
	for _, f := range p.queue[1:] {
		bytes += f.size
	}
	return p.passed.Sub(p.now) + p.takes(bytes)
}

func (p *path) takes(bytes int) time.Duration {
	return time.Duration(float64(bytes) / p.rate * float64(time.Second))
}

// run lets time pass, and returns what share of the bottleneck was used and how
// long its queue was on average.
func (p *path) run(d time.Duration) (used float64, queue time.Duration) {
	start, end := p.now, p.now.Add(d)
	came := p.came
	p.waited = 0
	for p.now.Before(end) {
		p.bulk()
		p.pass(earlier(p.next(), end))
	}
	took := end.Sub(start).Seconds()
	return float64(p.came-came) / took / p.rate, time.Duration(p.waited / took * float64(time.Second))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// bulk sends what streams with endless data may send now.
func (p *path) bulk() {
	for !p.idle && p.now.Sub(p.turnAt) >= p.pace.gap() {
		chunk, underway := p.pace.chunk(), int(p.sent-p.acked)
		if underway > 0 && p.pace.room(underway) < chunk || underway > p.opening {
			return
		}
		p.turnAt = p.now
		p.send(chunk)
	}
}

func (p *path) send(n int) {
	p.sent += uint64(n)
	p.pace.sent(p.sent, p.now)
	p.queue = append(p.queue, simFrame{end: p.sent, size: n, sentAt: p.now})
	if len(p.queue) == 1 {
		p.passed = p.now.Add(p.takes(n))
	}
}

// next is when something happens next.
func (p *path) next() time.Time {
	t := p.now.Add(time.Second)
	if len(p.queue) > 0 {
		t = earlier(t, p.passed)
	}
	if len(p.flying) > 0 {
		t = earlier(t, p.flying[0].at)
	}
	if len(p.acks) > 0 {
		t = earlier(t, p.acks[0].at)
	}
	if !p.ackBy.IsZero() {
		t = earlier(t, p.ackBy)
	}
	if turn := p.turnAt.Add(p.pace.gap()); turn.After(p.now) {
		t = earlier(t, turn)
	}
	return t
}

// pass goes on to a time until which nothing happens, and lets happen what then does.
func (p *path) pass(to time.Time) {
	before := p.backlog()
	dt := to.Sub(p.now).Seconds()
	p.now = to
	p.waited += dt * (before.Seconds() + p.backlog().Seconds()) / 2
	if len(p.queue) > 0 && !p.passed.After(p.now) {
		p.fly()
	}
	for len(p.flying) > 0 && !p.flying[0].at.After(p.now) {
		p.arrive(p.flying[0])
		p.flying = p.flying[1:]
	}
	if !p.ackBy.IsZero() && !p.ackBy.After(p.now) {
		p.acknowledge()
	}
	for len(p.acks) > 0 && !p.acks[0].at.After(p.now) {
		a := p.acks[0]
		p.acks = p.acks[1:]
		p.open(int(a.ack - p.acked))
		p.acked = a.ack
		p.pace.received(a.ack, time.Duration(a.delay)*time.Microsecond, p.now)
	}
}

// open lets TCP send more: twice as much each round, or an eighth more.
func (p *path) open(acked int) {
	p.gentle = p.gentle || !p.eager && p.backlog() > p.way/4
	if p.gentle {
		acked /= 8
	}
	p.opening = min(p.opening+acked, testMost)
}

// fly lets the first frame of the queue go on. None overtakes another.
func (p *path) fly() {
	f := p.queue[0]
	p.queue = p.queue[1:]
	f.at = p.now.Add(p.way)
	if p.extra != nil {
		f.at = f.at.Add(p.extra())
	}
	if n := len(p.flying); n > 0 && f.at.Before(p.flying[n-1].at) {
		f.at = p.flying[n-1].at
	}
	p.flying = append(p.flying, f)
	if len(p.queue) > 0 {
		p.passed = p.now.Add(p.takes(p.queue[0].size))
	}
}

// arrive is the peer, which acknowledges as a Link does.
func (p *path) arrive(f simFrame) {
	p.came = f.end
	clock := p.skew + time.Duration(p.drift*float64(p.now.Sub(p.born)))
	p.arrivals.note((p.now.Sub(f.sentAt) + clock).Microseconds())
	owed := p.came - p.told
	due := p.toldAt.Add(ackPause)
	if owed < ackSome {
		due = p.now.Add(ackDelay)
	}
	if owed >= ackMuch || due.Before(p.now) {
		due = p.now
	}
	if p.ackBy.IsZero() || due.Before(p.ackBy) {
		p.ackBy = due
	}
}

func (p *path) acknowledge() {
	a := simAck{ack: p.came, delay: p.arrivals.report(), at: p.now.Add(p.way)}
	if p.mute {
		a.delay = 0
	}
	if n := len(p.acks); n > 0 && a.at.Before(p.acks[n-1].at) {
		a.at = p.acks[n-1].at
	}
	p.acks = append(p.acks, a)
	p.told, p.toldAt, p.ackBy = p.came, p.now, time.Time{}
}

// wantUsed checks that a path is full, for a time.
func wantUsed(t *testing.T, what string, p *path, d time.Duration, least float64) {
	t.Helper()
	if used, _ := p.run(d); used < least {
		t.Errorf("%s: %.1f %% of the path are used with a limit of %d; want %.0f at least", what, 100*used, p.pace.limit, 100*least)
	}
}

// wantShort checks that a queue is short, for a time.
func wantShort(t *testing.T, what string, p *path, d, most time.Duration) {
	t.Helper()
	if _, queue := p.run(d); queue > most {
		t.Errorf("%s: the queue is %v with a limit of %d; want %v at most", what, queue, p.pace.limit, most)
	}
}

func TestNothingIsLimitedBeforeThereIsAQueue(t *testing.T) {
	p := newPath(20*mbit, 40*time.Millisecond)
	for p.backlog() < leastQueue {
		if p.pace.limit != testMost || p.pace.gap() != 0 || p.pace.drain != 0 {
			t.Fatalf("the limit is %d and the gap %v with a queue of %v; want no limit before there is a queue",
				p.pace.limit, p.pace.gap(), p.backlog())
		}
		p.run(time.Millisecond)
	}
}

func TestFullPathHasAShortQueue(t *testing.T) {
	for _, trip := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond, 200 * time.Millisecond} {
		p := newPath(20*mbit, trip)
		p.run(5 * time.Second)
		for range 6 {
			used, queue := p.run(5 * time.Second)
			if used < 0.95 || queue > trip/2 {
				t.Errorf("%v: %.1f %% of the path are used with a queue of %v; want 95 %% at least, and half a round trip at most",
					trip, 100*used, queue)
			}
		}
	}
}

func TestFastLongPathIsFull(t *testing.T) {
	p := newPath(500*mbit, 80*time.Millisecond)
	p.run(3 * time.Second)
	if chunk := p.pace.chunk(); chunk < mostChunk/4*3 {
		t.Errorf("a stream sends %d bytes in its turn; want about %d", chunk, mostChunk)
	}
	for range 3 {
		wantUsed(t, "500 Mbit/s, 80 ms", p, 20*time.Second, 0.98) // drains included
	}
	wantShort(t, "500 Mbit/s, 80 ms", p, 20*time.Second, 40*time.Millisecond)
}

func TestPathThatBecomesFasterIsUsed(t *testing.T) {
	for _, p := range []*path{newPath(20*mbit, 40*time.Millisecond), newPath(10*mbit, 20*time.Millisecond)} {
		p.run(10 * time.Second)
		p.rate *= 10
		p.run(4 * time.Second)
		wantUsed(t, "4 s after it became ten times as fast", p, 5*time.Second, 0.95)
	}
}

// What the clocks differ by says nothing; nor does it that one is a little faster.
func TestClocksNeedNotAgree(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, -21 * time.Millisecond, 0, time.Second, 1000 * time.Hour} {
		for _, drift := range []float64{-50e-6, 0, 50e-6} {
			p := newPath(20*mbit, 40*time.Millisecond)
			p.skew, p.drift = skew, drift
			p.run(5 * time.Second)
			used, queue := p.run(30 * time.Second)
			if used < 0.95 || queue > 30*time.Millisecond {
				t.Errorf("clocks that differ by %v and %v s/s: %.1f %% are used with a queue of %v; want 95 %% at least, and 30 ms at most",
					skew, drift, 100*used, queue)
			}
		}
	}
}

func TestPeerThatReportsNothingIsNotLimited(t *testing.T) {
	p := newPath(20*mbit, 40*time.Millisecond)
	p.mute = true
	for range 100 {
		p.run(200 * time.Millisecond)
		if p.pace.limit != testMost || p.pace.gap() != 0 || p.pace.drain != 0 {
			t.Fatalf("the limit is %d and the gap %v; want none, nothing is known of queues", p.pace.limit, p.pace.gap())
		}
	}
	if p.pace.trip < 40*time.Millisecond {
		t.Errorf("the round trip is %v; want 40 ms at least, that needs no report", p.pace.trip)
	}
}

func TestJitterDoesNotStarveAPath(t *testing.T) {
	for _, most := range []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond} {
		p := newPath(50*mbit, 40*time.Millisecond)
		r := rand.New(rand.NewPCG(1, 1))
		p.extra = func() time.Duration { return time.Duration(r.Int64N(int64(most))) }
		p.run(5 * time.Second)
		wantUsed(t, "jitter of "+most.String(), p, 20*time.Second, 0.9)
	}
}

func TestOutlierIsForgotten(t *testing.T) {
	p := newPath(50*mbit, 40*time.Millisecond)
	p.run(5 * time.Second)
	before, stuck := p.pace.limit, true
	p.extra = func() time.Duration {
		defer func() { stuck = false }()
		if stuck {
			return 300 * time.Millisecond // and all behind it
		}
		return 0
	}
	p.run(time.Second)
	if p.pace.limit < before/3 {
		t.Errorf("the limit fell from %d to %d; want no less than a third, one frame was late", before, p.pace.limit)
	}
	wantUsed(t, "a second after one frame was late", p, 5*time.Second, 0.95)
}

// Keystrokes are acknowledged late, since there is no hurry: that is not a queue.
func TestBulkBehindLittleTrafficStartsAtOnce(t *testing.T) {
	p := newPath(20*mbit, 40*time.Millisecond)
	p.idle = true
	for range 600 {
		p.send(100)
		p.run(50 * time.Millisecond)
		if p.pace.limit != testMost || p.pace.gap() != 0 {
			t.Fatalf("the limit is %d and the gap %v; want none, there is next to nothing to send", p.pace.limit, p.pace.gap())
		}
	}
	p.idle = false
	p.run(time.Second) // TCP is what is slow here
	wantUsed(t, "a second after keystrokes", p, time.Second, 0.95)
}

func TestLittleTrafficBehindBulkDoesNotLowerTheLimit(t *testing.T) {
	p := newPath(20*mbit, 40*time.Millisecond)
	p.run(5 * time.Second)
	p.idle = true
	p.run(time.Second)
	before := p.pace.limit
	for range 600 {
		p.send(100)
		p.run(50 * time.Millisecond)
	}
	if p.pace.limit < before {
		t.Errorf("the limit fell from %d to %d; want it kept, there was next to nothing to send", before, p.pace.limit)
	}
	p.idle = false
	wantUsed(t, "at once after keystrokes", p, time.Second, 0.9)
}

func TestResetForgetsThePath(t *testing.T) {
	p := newPath(20*mbit, 40*time.Millisecond)
	p.run(15 * time.Second)
	p.pace.reset(testMost, p.sent)
	fresh := newPath(20*mbit, 40*time.Millisecond)
	if p.pace.limit != testMost || p.pace.gap() != 0 || p.pace.trip != 0 || p.pace.chunk() != fresh.pace.chunk() {
		t.Errorf("limit %d, gap %v, round trip %v and chunk %d; want it to be as at first, the path is another one",
			p.pace.limit, p.pace.gap(), p.pace.trip, p.pace.chunk())
	}
	// Three times as far, and another clock: as good as new.
	far := newPath(20*mbit, 120*time.Millisecond)
	far.skew = time.Hour
	far.pace, far.sent, far.acked, far.came, far.told = p.pace, p.sent, p.sent, p.sent, p.sent
	far.run(5 * time.Second)
	used, queue := far.run(5 * time.Second)
	if used < 0.95 || queue > 60*time.Millisecond {
		t.Errorf("on the next path %.1f %% are used with a queue of %v; want 95 %% at least, and half a round trip at most", 100*used, queue)
	}
}

func TestMoreFramesThanAreTimedMayBeOnTheirWay(t *testing.T) {
	p := newPath(500*mbit, 200*time.Millisecond)
	p.idle = true
	for range 5 {
		for range 3 * maxMarks {
			p.send(1000)
		}
		if n := len(p.pace.marks); n > maxMarks {
			t.Fatalf("%d frames are timed; want %d at most", n, maxMarks)
		}
		p.run(time.Second)
	}
	if p.acked != p.sent {
		t.Fatalf("%d of %d bytes are acknowledged; want all", p.acked, p.sent)
	}
	if p.pace.trip < 200*time.Millisecond || p.pace.trip > 300*time.Millisecond {
		t.Errorf("the round trip is %v; want that of the frames that were timed, 200 ms", p.pace.trip)
	}
}

func TestSteadyPaceTakesNoMemory(t *testing.T) {
	var p pace
	p.reset(testMost, 0)
	now, sent := time.Unix(1, 0), uint64(0)
	round := func() {
		for range 10 {
			sent += 16 << 10
			p.sent(sent, now)
			now = now.Add(time.Millisecond)
		}
		p.received(sent-32<<10, 40*time.Millisecond, now)
		p.room(32 << 10)
		p.gap()
	}
	for range 1000 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations in a round; want none, this happens for each frame", n)
	}
}

func TestQueueBecomesShortBehindATCPThatDoesNotCare(t *testing.T) {
	for _, rate := range []float64{20 * mbit, 100 * mbit, 500 * mbit} {
		for _, trip := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond} {
			p := newPath(rate, trip)
			p.eager = true
			p.run(5 * time.Second)
			wantShort(t, "slow start to the end", p, 5*time.Second, trip/2)
			wantUsed(t, "slow start to the end", p, 5*time.Second, 0.95)
		}
	}
}

func TestPathThatBecomesSlowerHasAShortQueueAgain(t *testing.T) {
	p := newPath(100*mbit, 40*time.Millisecond)
	p.run(5 * time.Second)
	p.rate /= 10
	p.run(4 * time.Second)
	wantShort(t, "4 s after it became ten times slower", p, 5*time.Second, 40*time.Millisecond)
	wantUsed(t, "and then", p, 5*time.Second, 0.95)
	p.rate *= 10
	p.run(4 * time.Second)
	wantUsed(t, "4 s after it became fast again", p, 5*time.Second, 0.95)
}

func TestPathThatBecomesLongerIsUsed(t *testing.T) {
	p := newPath(20*mbit, 20*time.Millisecond)
	p.run(5 * time.Second)
	p.way = 50 * time.Millisecond
	p.run(4 * time.Second)
	wantUsed(t, "4 s after the round trip rose from 20 to 100 ms", p, 5*time.Second, 0.9)
}
