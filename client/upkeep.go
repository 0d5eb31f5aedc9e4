package client

import (
	"context"
	"sync"
	"time"

	"ferry/mux"
)

// fallbackAfter is how long a lost session is waited for before new tunnels get
// one with another endpoint, if there is another.
const fallbackAfter = 2 * time.Second

// member is a session, and the endpoint it is with.
type member struct {
	*mux.Session
	endpoint int
	moved    chan struct{} // closed when another session is for new tunnels
}

func newMember(session *mux.Session, endpoint int) *member {
	return &member{Session: session, endpoint: endpoint, moved: make(chan struct{})}
}

// keepSession keeps a session up until ctx ends. Each session has a goroutine of
// its own that sees it to its end, through any number of WebSockets; the next
// one may begin before that.
func (c *Client) keepSession(ctx context.Context) {
	var held sync.WaitGroup
	defer held.Wait()
	defer c.sessions.explain(errStopped)
	moveFrom := func() {}
	for one := c.reach(ctx, 0); one != nil; {
		c.config.Log.Info("session opened", "endpoint", c.endpoints[one.endpoint])
		c.sessions.add(one.Session)
		moveFrom()
		moved := one.moved
		moveFrom = func() { close(moved) }
		replaced := make(chan *member)
		current := one
		held.Go(func() { c.hold(ctx, current, replaced) })
		next := c.attend(ctx, one, replaced)
		if next == nil {
			next = c.reach(ctx, one.endpoint)
		}
		one = next
	}
	moveFrom()
}

// attend returns when another session is needed for new tunnels: this one has
// ended, or is going to, or can't be resumed for a while. It returns the session
// that the endpoint gave in its place, if it did.
func (c *Client) attend(ctx context.Context, one *member, replaced <-chan *member) *member {
	for {
		lost := one.Lost()
		select {
		case next := <-replaced:
			return next
		case <-one.Draining():
			c.config.Log.Info("the endpoint asks for another session")
			return nil
		case <-c.renew:
			c.config.Log.Info("opening another session")
			return nil
		case <-ctx.Done():
			return nil
		case <-lost:
		}
		if next, decided := c.awaitResumption(ctx, one, replaced); decided {
			return next
		}
	}
}

// awaitResumption waits until a session that was lost is resumed, and reports
// whether to go on with another one instead.
func (c *Client) awaitResumption(ctx context.Context, one *member, replaced <-chan *member) (next *member, decided bool) {
	var fallback <-chan time.Time
	if len(c.endpoints) > 1 {
		timer := time.NewTimer(fallbackAfter)
		defer timer.Stop()
		fallback = timer.C
	}
	for {
		_, changed, _ := c.sessions.get()
		if one.Attached() {
			return nil, false
		}
		select {
		case <-changed:
		case next := <-replaced:
			return next, true
		case <-fallback:
			return nil, true
		case <-ctx.Done():
			return nil, true
		}
	}
}

// hold sees a session to its end, and to the client's: it takes it up again
// whenever its WebSocket is lost, and closes it once another is for new tunnels
// and its own have finished. A new session that the endpoint gives instead goes
// to replaced.
func (c *Client) hold(ctx context.Context, one *member, replaced chan<- *member) {
	defer c.sessions.drop(one.Session)
	stop := context.AfterFunc(ctx, func() { _ = one.Close(mux.CloseDone, "the client is shutting down") })
	defer stop()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	helpers.Go(one.refuseStreams)
	helpers.Go(func() { one.closeWhenMoved(ctx) })
	next := c.resumeUntilEnd(ctx, one)
	c.config.Log.Info("session ended", "reason", one.Err())
	c.sessions.explain(one.Err())
	select {
	case replaced <- next:
	case <-one.moved:
		if next != nil {
			_ = next.Close(mux.CloseDone, "another session is in use")
		}
	}
	_ = one.Close(mux.CloseDone, "")
}

// refuseStreams ends the session if the endpoint opens a stream.
func (m *member) refuseStreams() {
	if _, err := m.Accept(); err == nil {
		_ = m.Close(mux.CloseProtocolError, "only the client opens tunnels")
	}
}

// closeWhenMoved closes the session once nothing needs it.
func (m *member) closeWhenMoved(ctx context.Context) {
	select {
	case <-m.moved:
		m.Retire() // a tunnel opened from now on would be lost
		m.WaitIdle(ctx)
		if ctx.Err() != nil {
			return // hold closes it
		}
		_ = m.Close(mux.CloseDone, "the client has moved to another session")
	case <-m.Done():
	}
}

// resumeUntilEnd takes the session up whenever its WebSocket is lost. It returns
// when the session has ended; with the new session that the endpoint gave
// instead, or nil.
func (c *Client) resumeUntilEnd(ctx context.Context, one *member) *member {
	for {
		<-one.Lost()
		if one.Err() != nil {
			return nil
		}
		began := time.Now()
		c.config.Log.Warn("connection lost; resuming the session", "reason", one.LostBy())
		c.sessions.explain(one.LostBy())
		next := c.resume(ctx, one)
		if next != one {
			return next
		}
		c.sessions.resumed()
		c.config.Log.Info("session resumed", "after", time.Since(began))
	}
}
