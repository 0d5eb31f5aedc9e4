package wire

import (
	"net"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// linger is how long Close goes on behind the user's back for a far end that
// has not ended its direction yet.
const linger = 30 * time.Second

// Close gives the tunnel up as close(2) does a TCP connection: what was written
// still arrives, then EOF; a far end that goes on sending gets an abort. It does
// not block, and later calls do nothing. Blocked calls return [net.ErrClosed].
func (c *Conn) Close() error {
	if c.broken.Load() {
		return c.Abort(AbortProtocolError, "")
	}
	if !c.readEnd.stop(net.ErrClosed) {
		return nil
	}
	c.writeEnd.stop(net.ErrClosed)
	if c.failed.Load() || c.gotLast.Load() && c.sentEnd.Load() {
		return c.stream.Close()
	}
	go c.part()
	return nil
}

// part sends End, waits for the far end's, and closes the stream. It ends with
// the session at the latest.
func (c *Conn) part() {
	<-c.writing // the writer was interrupted and gives it back
	defer c.stream.Close()
	late := time.AfterFunc(linger, c.interruptAll)
	defer late.Stop()
	if c.torn != nil {
		if _, err := c.stream.Write(c.torn); err != nil {
			return // the stream ends inside a chunk: the far end sees a cut
		}
	}
	if !c.sentEnd.Load() && !c.writeLast(endChunk()) {
		return
	}
	if !c.awaitEnd() {
		_ = c.stream.SetWriteDeadline(longAgo)
		c.writeLast(abortChunk(AbortCanceled, "nobody reads any more"))
	}
}

// interruptAll frees part if the far end keeps it waiting.
func (c *Conn) interruptAll() {
	_ = c.stream.SetReadDeadline(longAgo)
	_ = c.stream.SetWriteDeadline(longAgo)
}

// writeLast writes a chunk for part and Abort, which own the token.
func (c *Conn) writeLast(chunk *relayv1.Chunk) bool {
	b, err := encodeControl(chunk)
	if err != nil {
		return false
	}
	_, err = c.stream.Write(b)
	return err == nil
}

// awaitEnd reports whether the far end is through with the tunnel, too. It is
// not if it sends data that nobody will read.
func (c *Conn) awaitEnd() bool {
	c.reading.Lock() // the reader was interrupted
	defer c.reading.Unlock()
	return c.readErr != nil || c.dec.left == 0 && c.skipToEnd()
}

func (c *Conn) skipToEnd() bool {
	for c.readErr == nil {
		chunk, err := c.dec.next()
		if err != nil || chunk == nil || c.handle(chunk) != nil {
			return false
		}
	}
	return true
}

// Abort gives the tunnel up at once, in both directions, and tells the far end
// why: a reset, where Close is a FIN. It does not wait for a far end that reads
// nothing, which then sees a cut without the reason. After Close or another
// Abort it does nothing. Blocked calls return an [*AbortError].
func (c *Conn) Abort(code AbortCode, detail string) error {
	err := &AbortError{Code: code, Detail: detail}
	if !c.readEnd.stop(err) {
		return nil
	}
	c.writeEnd.stop(err)
	<-c.writing // the writer was interrupted and gives it back
	if c.torn == nil && !c.failed.Load() {
		_ = c.stream.SetWriteDeadline(longAgo)
		c.writeLast(abortChunk(code, detail))
	}
	return c.stream.Close()
}

// awaitAbort watches a tunnel whose far end has ended its direction: the far end
// may still abort the other one. It returns errIdle if nothing has come, and nil if
// the Conn is closed, or if both directions have ended and the stream is over.
func (c *Conn) awaitAbort() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	if !c.pending() {
		return errIdle
	}
	if c.readEnd.begin(userCall) != nil {
		return nil
	}
	chunk, err := c.dec.next()
	interrupted := c.readEnd.end()
	switch {
	case interrupted != nil:
		return nil
	case err != nil && c.ending.Load():
		return nil // the far end may be through before the writer here notices
	case err == nil && chunk.GetAbort() != nil:
		_ = c.handle(chunk)
	case err == nil:
		c.loseRead(protocolError("a chunk after the end"))
	default:
		c.loseRead(err)
	}
	return c.readErr
}
