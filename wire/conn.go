package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// Conn is one end of a tunnel. It is a [net.Conn] that also half-closes and
// aborts. All methods may be called concurrently.
//
// Read returns io.EOF only if the far end has ended its direction. A stream that
// is lost gives an [*AbortError] instead, a refused target a [*RefusedError];
// both stick. The end that opened the tunnel may write before the far end has
// answered.
//
// Whoever has a Conn must call Close or Abort in the end.
type Conn struct {
	stream Stream
	target Target

	// reading guards the fields below it: one reader at a time.
	reading  sync.Mutex
	dec      decoder
	answered bool                 // Connected has been received, or this is the far end
	onAnswer func(connected bool) // called when an answer is received
	readErr  error                // sticks: io.EOF, *RefusedError or *AbortError
	readEnd  deadline

	// writing holds a token while nobody writes. Who takes it may write to the
	// stream and use torn; Abort and Close never give it back.
	writing  chan struct{}
	torn     []byte // the rest of a chunk whose writing was interrupted
	writeEnd deadline

	ending  atomic.Bool // End or Refused is going out, or has; set with the token held
	sentEnd atomic.Bool // it has; likewise
	gotLast atomic.Bool // readErr is set; set with reading held
	failed  atomic.Bool // the stream is lost, or the far end gave the tunnel up; likewise
	broken  atomic.Bool // the far end broke the protocol, and is to be told; likewise
}

var (
	_ net.Conn      = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
	_ io.WriterTo   = (*Conn)(nil)
)

func newConn(s Stream) *Conn {
	c := &Conn{stream: s, writing: make(chan struct{}, 1)}
	c.dec.src = s
	c.readEnd.init(s.SetReadDeadline)
	c.writeEnd.init(s.SetWriteDeadline)
	c.writing <- struct{}{}
	return c
}

// LocalAddr returns a placeholder: this end of a tunnel has no address.
func (c *Conn) LocalAddr() net.Addr { return localAddr{} }

// RemoteAddr returns the target as it was asked for, which may be a name.
func (c *Conn) RemoteAddr() net.Addr { return c.target }

// SetDeadline sets both deadlines. Calls that run into one return an error that
// wraps [os.ErrDeadlineExceeded], and the tunnel stays usable.
func (c *Conn) SetDeadline(t time.Time) error {
	c.readEnd.set(t)
	c.writeEnd.set(t)
	return nil
}

// SetReadDeadline sets the deadline of Read, WriteTo and Handshake.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readEnd.set(t)
	return nil
}

// SetWriteDeadline sets the deadline of Write, ReadFrom and CloseWrite.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeEnd.set(t)
	return nil
}

// Read reads what the far end sent. The end that opened the tunnel waits for
// the far end's answer first.
func (c *Conn) Read(p []byte) (n int, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.readEnd.begin(userCall); err != nil {
		return 0, err
	}
	if err = c.advance(); err == nil && len(p) > 0 {
		n, err = c.dec.Read(p)
	}
	return n, c.endRead(err)
}

// WriteTo copies to w until the far end ends its direction. An error is w's own,
// or one that Read would return.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		n, err := c.writeChunkTo(w)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// writePending copies to w until the far end ends its direction, which is io.EOF
// here, or until nothing more has come, which is errIdle.
func (c *Conn) writePending(w io.Writer) (total int64, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for c.readErr != nil || c.pending() {
		n := 0
		if c.readErr == nil && c.dec.left == 0 {
			err = c.takeOne()
		} else {
			n, err = c.writeChunkTo(w)
		}
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, errIdle
}

// takeOne takes in what begins the next chunk, or all of a control chunk.
func (c *Conn) takeOne() error {
	if err := c.readEnd.begin(userCall); err != nil {
		return err
	}
	return c.endRead(c.step())
}

// pending reports whether there is something to be read. It is called with reading
// held.
func (c *Conn) pending() bool { return c.dec.ready() || c.stream.Readable() }

// onReadable has wake called once there is something to be read, and reports true,
// unless there is already.
func (c *Conn) onReadable(wake func()) bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	return !c.dec.ready() && c.stream.OnReadable(wake)
}

// writeChunkTo waits for data with empty hands, and borrows a buffer only then.
func (c *Conn) writeChunkTo(w io.Writer) (int, error) {
	if err := c.readEnd.begin(userCall); err != nil {
		return 0, err
	}
	if err := c.advance(); err != nil {
		return 0, c.endRead(err)
	}
	b := borrow(c.dec.left)
	defer giveBack(b)
	n, err := c.dec.readPayload(b.payload())
	err = c.endRead(err)
	if n == 0 {
		return 0, err
	}
	m, werr := w.Write(b.payload()[:n])
	if werr == nil && m < n {
		werr = io.ErrShortWrite
	}
	if werr != nil {
		return m, werr
	}
	return m, err
}

// advance moves to the next payload byte. Its error is c.readErr, or what the
// stream or the decoder reports. It is called with reading held.
func (c *Conn) advance() error {
	for c.readErr == nil && c.dec.left == 0 {
		if err := c.step(); err != nil {
			return err
		}
	}
	return c.readErr
}

// step moves to the next chunk, and handles it if it is not data.
func (c *Conn) step() error {
	chunk, err := c.dec.next()
	switch {
	case err != nil:
		return err
	case chunk != nil:
		return c.handle(chunk)
	case !c.answered:
		return protocolError("data before the answer")
	}
	return nil
}

// handle takes a control chunk in. It is called with reading held.
func (c *Conn) handle(chunk *relayv1.Chunk) error {
	switch k := chunk.GetKind().(type) {
	case *relayv1.Chunk_Abort:
		c.failed.Store(true)
		c.failRead(&AbortError{Code: abortCode(k.Abort.GetCode()), Detail: k.Abort.GetDetail(), Remote: true})
	case *relayv1.Chunk_Connected:
		if c.answered {
			return protocolError("an answer nobody asked for")
		}
		c.answered = true
		c.answer(true)
	case *relayv1.Chunk_Refused:
		if c.answered {
			return protocolError("a refusal after the answer")
		}
		c.answer(false)
		c.failed.Store(true)
		c.failRead(&RefusedError{Code: refusalCode(k.Refused.GetCode()), Detail: k.Refused.GetDetail()})
	case *relayv1.Chunk_End:
		if !c.answered {
			return protocolError("an end before the answer")
		}
		c.readErr = io.EOF
		c.gotLast.Store(true)
	default:
		return protocolError("a chunk out of its place")
	}
	return nil
}

// answer tells whoever wants to know the far end's answer.
func (c *Conn) answer(connected bool) {
	if c.onAnswer != nil {
		c.onAnswer(connected)
		c.onAnswer = nil
	}
}

// endRead closes what begin opened, and decides what err means for the user.
func (c *Conn) endRead(err error) error {
	interrupted := c.readEnd.end()
	switch {
	case err == nil, err == c.readErr:
		return err
	case interrupted != nil:
		return interrupted
	}
	c.loseRead(err)
	return c.readErr
}

// loseRead makes what the stream or the decoder reported the last word of this
// direction. It is called with reading held.
func (c *Conn) loseRead(err error) {
	abort := lost(err)
	c.broken.Store(abort.Code == AbortProtocolError)
	c.failed.Store(abort.Code != AbortProtocolError)
	c.failRead(abort)
}

// failRead makes err the last word of this direction, and frees a writer that
// waits for a far end which reads no more. It is called with reading held.
func (c *Conn) failRead(err error) {
	c.readErr = err
	c.gotLast.Store(true)
	c.writeEnd.stop(err)
}

// lost says what a failure of the stream means: the tunnel was cut, whatever
// the stream calls it.
func lost(err error) *AbortError {
	var wrong protocolError
	if errors.As(err, &wrong) {
		return &AbortError{Code: AbortProtocolError, Err: err}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // nobody may take this for the end
	}
	return &AbortError{Code: AbortCut, Detail: "the stream ended without End", Err: err}
}
