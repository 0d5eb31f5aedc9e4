package wire

import (
	"io"

	relayv1 "ferry/proto/relay/v1"
)

// Write sends p in chunks. If it runs into the deadline, it returns how many
// bytes the far end will get: a chunk that was begun is finished behind the
// user's back.
func (c *Conn) Write(p []byte) (total int, err error) {
	if err := c.lockWrite(); err != nil {
		return 0, err
	}
	for first := true; first || total < len(p); first = false {
		n, err := c.sendData(p[total:])
		total += n
		if err != nil {
			return total, c.unlockWrite(err)
		}
	}
	return total, c.unlockWrite(nil)
}

// sendData sends as much of p as one chunk holds.
func (c *Conn) sendData(p []byte) (int, error) {
	if c.sentEnd.Load() {
		return 0, ErrWriteClosed
	}
	if len(p) == 0 {
		return 0, c.writeEnd.err()
	}
	p = p[:min(len(p), c.stream.MaxWrite(), mostChunk)]
	b := borrow(len(p))
	defer giveBack(b)
	n := copy(b.payload(), p)
	accepted, err := c.send(b.sealData(n))
	if !accepted {
		n = 0
	}
	return n, err
}

// ReadFrom copies from r until r's EOF. It does not end the tunnel's direction:
// CloseWrite does. An error is r's own, or one that Write would return.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return c.readFrom(newSource(r)) }

// readFrom copies until the source's EOF, which is no error, or until it has been
// idle for too long.
func (c *Conn) readFrom(src *source) (total int64, err error) {
	for {
		b, n, rerr := src.read(c.stream.MaxWrite())
		if n > 0 {
			n, err = c.sendBuffer(b, n)
			total += int64(n)
		}
		giveBack(b)
		switch {
		case err != nil:
			return total, err
		case rerr == io.EOF:
			return total, nil
		case rerr != nil:
			return total, rerr
		}
	}
}

// sendBuffer sends the n bytes that stand in b, and returns how many of them the
// far end will get: all or none.
func (c *Conn) sendBuffer(b *buffer, n int) (int, error) {
	if err := c.lockWrite(); err != nil {
		return 0, err
	}
	if c.sentEnd.Load() {
		return 0, c.unlockWrite(ErrWriteClosed)
	}
	accepted, err := c.send(b.sealData(n))
	if !accepted {
		n = 0
	}
	return n, c.unlockWrite(err)
}

// CloseWrite ends this direction: the far end reads EOF once it has read all
// that was written. The other direction goes on. It blocks while the far end
// accepts nothing more.
func (c *Conn) CloseWrite() error {
	return c.sendLast(endChunk())
}

// sendLast sends the chunk after which this direction carries nothing more.
func (c *Conn) sendLast(last *relayv1.Chunk) error {
	if err := c.lockWrite(); err != nil {
		return err
	}
	if c.sentEnd.Load() {
		return c.unlockWrite(nil)
	}
	chunk, err := encodeControl(last)
	if err != nil {
		return c.unlockWrite(err)
	}
	c.ending.Store(true)
	accepted, err := c.send(chunk)
	c.sentEnd.Store(accepted)
	c.ending.Store(accepted)
	return c.unlockWrite(err)
}

// lockWrite takes the token, or returns why it can't be had.
func (c *Conn) lockWrite() error {
	if err := c.writeEnd.err(); err != nil {
		return err
	}
	select {
	case <-c.writing:
		return nil
	default:
	}
	select {
	case <-c.writing:
		return nil
	case <-c.writeEnd.done():
		return c.writeEnd.waited()
	}
}

// unlockWrite gives the token back, or hands it to a goroutine that finishes
// the chunk that was interrupted. It returns err.
func (c *Conn) unlockWrite(err error) error {
	if c.torn != nil && c.writeEnd.begin(innerCall) == nil {
		go c.finishChunk()
		return err
	}
	c.writing <- struct{}{}
	return err
}

// finishChunk owns the token. It ends when the far end has taken the rest of the
// chunk, when the stream is lost, or when the Conn is closed or aborted.
func (c *Conn) finishChunk() {
	n, err := c.stream.Write(c.torn)
	c.torn = c.torn[n:]
	if interrupted := c.writeEnd.end(); err != nil && interrupted == nil {
		c.writeEnd.stop(lost(err))
	}
	if len(c.torn) == 0 {
		c.torn = nil
	}
	c.writing <- struct{}{}
}

// send writes one chunk. It reports whether the far end will get it: also after
// an error, if the chunk was begun and finishChunk is going to finish it. The
// token is held.
func (c *Conn) send(chunk []byte) (accepted bool, err error) {
	if err := c.writeEnd.begin(userCall); err != nil {
		return false, err
	}
	n, err := c.stream.Write(chunk)
	interrupted := c.writeEnd.end()
	if err == nil {
		return true, nil
	}
	if interrupted == nil {
		c.writeEnd.stop(lost(err))
		interrupted = c.writeEnd.err()
	}
	if n == 0 {
		return false, interrupted
	}
	if n < len(chunk) {
		c.torn = append([]byte(nil), chunk[n:]...)
	}
	return true, interrupted
}
