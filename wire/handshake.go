package wire

import (
	"context"
	"fmt"

	relayv1 "ferry/proto/relay/v1"
)

// Open opens a tunnel to target on a fresh stream, which the Conn then owns. It
// does not wait for the answer: write at once, or call Handshake first.
func Open(s Stream, target Target) (*Conn, error) {
	if _, err := targetOf(connectChunk(target).GetConnect()); err != nil {
		return nil, fmt.Errorf("wire: can't open a tunnel: %w", err)
	}
	c := newConn(s)
	c.target = target
	if err := c.sendControl(connectChunk(target)); err != nil {
		return nil, err
	}
	return c, nil
}

// Handshake waits for the far end's answer. It returns nil once the target is
// connected, a [*RefusedError] if it could not be, an [*AbortError] if the
// stream was lost, and the cause of ctx if that ended first; the tunnel is
// aborted then. Read does the same without a context.
func (c *Conn) Handshake(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Abort(AbortCanceled, "gave up waiting for the answer") })
	err := c.awaitAnswer()
	if !stop() {
		return context.Cause(ctx) // the answer may have come, but the tunnel is gone
	}
	return err
}

func (c *Conn) awaitAnswer() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.readEnd.begin(userCall); err != nil {
		return err
	}
	for !c.answered && c.readErr == nil {
		chunk, err := c.dec.next()
		if err == nil && chunk == nil {
			err = protocolError("data before the answer")
		}
		if err == nil {
			err = c.handle(chunk)
		}
		if err != nil {
			return c.endRead(err)
		}
	}
	return c.endRead(c.readErr)
}

// OnAnswer sets what is called once the far end has answered whether the target
// is connected, before anybody else learns the answer. So f must not block, nor
// use the Conn. It is set before anything is read.
func (c *Conn) OnAnswer(f func(connected bool)) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.onAnswer = f
}

// Accept reads the Connect chunk from a stream that the far end opened, and then
// owns the stream. The answer is Confirm or Refuse. If ctx ends first, if the
// stream is lost, or if the chunk names no target (which is refused), Accept
// has given the stream up and returns the reason.
func Accept(ctx context.Context, s Stream) (*Conn, Target, error) {
	c := newConn(s)
	c.answered = true
	stop := context.AfterFunc(ctx, func() { _ = c.Abort(AbortTimeout, "no Connect chunk came in time") })
	connect, err := c.readConnect()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Abort(AbortProtocolError, "the stream did not begin with Connect")
		return nil, Target{}, err
	}
	if c.target, err = targetOf(connect); err != nil {
		_ = c.Refuse(HTTPRequestError, err.Error())
		return nil, Target{}, fmt.Errorf("wire: bad Connect chunk: %w", err)
	}
	return c, c.target, nil
}

func (c *Conn) readConnect() (*relayv1.Connect, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.readEnd.begin(userCall); err != nil {
		return nil, err
	}
	chunk, err := c.dec.next()
	if err == nil && chunk.GetConnect() == nil {
		err = protocolError("the first chunk is not Connect")
	}
	return chunk.GetConnect(), c.endRead(err)
}

// Confirm tells the near end that its target is connected. It comes before any
// data.
func (c *Conn) Confirm() error { return c.sendControl(connectedChunk()) }

// Refuse tells the near end why its target could not be connected, and gives
// the tunnel up. The detail crosses the wire: no internal addresses.
func (c *Conn) Refuse(code RefusalCode, detail string) error {
	err := c.sendLast(refusedChunk(code, detail))
	_ = c.closeNow()
	return err
}

// Reject refuses a stream whose Connect chunk nobody is going to read, and gives
// it up. It does not wait for the far end.
func Reject(s Stream, code RefusalCode, detail string) error {
	return newConn(s).Refuse(code, detail)
}

// closeNow closes the stream without waiting for the far end: after Refused
// nothing else is to be said, and what the far end still sends is dropped.
func (c *Conn) closeNow() error {
	c.failed.Store(true)
	return c.Close()
}

func (c *Conn) sendControl(chunk *relayv1.Chunk) error {
	b, err := encodeControl(chunk)
	if err != nil {
		return err
	}
	if err := c.lockWrite(); err != nil {
		return err
	}
	_, err = c.send(b)
	return c.unlockWrite(err)
}
