package mux

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// pausable is a wall clock that a test can set ahead, as a machine's is that was
// suspended: the monotonic clock stands still meanwhile.
type pausable struct{ ahead atomic.Int64 }

func (p *pausable) now() time.Time { return wallClock().Add(time.Duration(p.ahead.Load())) }

func TestPauseProbesThePeerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock pausable
		link, p, _ := linked(t, Config{wall: clock.now})
		time.Sleep(2500 * time.Millisecond)
		paused := time.Now()
		clock.ahead.Store(int64(time.Hour))
		ping := p.next(t)
		if ping.GetPing() == nil || ping.at.Sub(paused) > tick {
			t.Errorf("%v came %v after the pause; want a ping within %v", ping.Frame, ping.at.Sub(paused), tick)
		}
		<-link.ended // this Link can't be resumed
		if took := time.Since(paused); took > 2*time.Second {
			t.Errorf("the dead WebSocket was dropped %v after the pause; want 2 s at most", took)
		}
	})
}

func TestPauseLeavesALivingPeerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock pausable
		link, p, _ := linked(t, Config{wall: clock.now})
		for range 3 {
			clock.ahead.Add(int64(time.Hour))
			ping := p.next(t)
			p.say(t, &relayv1.Frame{Pong: &relayv1.Pong{Id: ping.GetPing().GetId()}})
			time.Sleep(5 * time.Second)
		}
		if err := link.Err(); err != nil {
			t.Errorf("the Link ended with %v; want it alive, each probe was answered", err)
		}
	})
}

func TestClockThatIsSetBackChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock pausable
		_, p, _ := linked(t, Config{wall: clock.now})
		time.Sleep(2500 * time.Millisecond)
		clock.ahead.Store(-int64(time.Hour))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		select {
		case f := <-p.frames:
			t.Errorf("the Link sent %v; want nothing before the keepalive", f.Frame)
		default:
		}
	})
}
