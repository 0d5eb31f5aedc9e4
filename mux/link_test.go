package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// The tests here run a Link in a synctest bubble, on a WebSocket whose other end
// they play by hand. There is no yamux: its timers don't stand a second bubble.

// oneConn is a listener that accepts one connection.
type oneConn struct {
	conns chan net.Conn
}

func (l oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l oneConn) Close() error   { return nil }
func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// webSockets returns the two ends of a WebSocket over a pipe in memory.
func webSockets(t *testing.T) (client, server *websocket.Conn) {
	t.Helper()
	near, far := net.Pipe()
	l := oneConn{make(chan net.Conn, 1)}
	l.conns <- far
	close(l.conns)
	upgraded := make(chan *websocket.Conn, 1)
	endpoint := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrading: %v", err)
		}
		upgraded <- ws
	})}
	go func() { _ = endpoint.Serve(l) }()
	dialer := &websocket.Dialer{
		NetDialContext:  func(context.Context, string, string) (net.Conn, error) { return near, nil },
		Subprotocols:    []string{subprotocol},
		WriteBufferSize: writeBufferSize,
		WriteBufferPool: writeBuffers,
	}
	client, _, err := dialer.Dial("ws://pipe/", nil)
	if err != nil {
		t.Fatalf("dialing: %v", err)
	}
	return client, <-upgraded
}

// peer is the other end of a Link.
type peer struct {
	ws     *websocket.Conn
	frames chan arrival // what the Link sends; closed when the WebSocket ends
	err    error        // why it ended; set before frames is closed
}

// arrival is a frame and when it came.
type arrival struct {
	*relayv1.Frame
	at time.Time
}

// linked returns a Link, its peer, and a channel with what Read returns in the
// end: somebody is always reading. All that it reads is thrown away.
func linked(t *testing.T, c Config) (*Link, *peer, <-chan error) {
	t.Helper()
	link, ws := unread(t, c)
	p := &peer{ws: ws, frames: make(chan arrival, 1000)}
	go p.listen()
	reading := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, link)
		reading <- err
	}()
	return link, p, reading
}

// unread returns a Link and its peer's WebSocket; nobody reads at either end.
func unread(t *testing.T, c Config) (*Link, *websocket.Conn) {
	t.Helper()
	near, far := webSockets(t)
	link := newLink(c.withDefaults(), 0, hooks{})
	link.start(near, "")
	t.Cleanup(func() {
		link.fail(errors.New("the test is over"))
		_ = far.Close()
		link.workers.Wait()
	})
	return link, far
}

func (p *peer) listen() {
	defer close(p.frames)
	for {
		kind, b, err := p.ws.ReadMessage()
		if err != nil {
			p.err = err
			return
		}
		f := new(relayv1.Frame)
		if err := proto.Unmarshal(b, f); err != nil || kind != websocket.BinaryMessage {
			p.err = errors.Join(errors.New("a message that is no frame"), err)
			return
		}
		p.frames <- arrival{f, time.Now()}
	}
}

// say sends a frame.
func (p *peer) say(t *testing.T, f *relayv1.Frame) {
	t.Helper()
	b, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		t.Fatalf("sending a frame to the Link: %v", err)
	}
}

// next returns the next frame that the Link sends.
func (p *peer) next(t *testing.T) arrival {
	t.Helper()
	f, ok := <-p.frames
	if !ok {
		t.Fatalf("the WebSocket ended (%v); want a frame", p.err)
	}
	return f
}

// quiet checks that the Link has sent nothing that was not looked at.
func (p *peer) quiet(t *testing.T, why string) {
	t.Helper()
	synctest.Wait()
	select {
	case f := <-p.frames:
		t.Errorf("the Link sent %v; want nothing, %s", f.Frame, why)
	default:
	}
}

// wantEnd waits for the Link's end, and checks when and why it came.
func wantEnd(t *testing.T, l *Link, start time.Time, after time.Duration, why error) {
	t.Helper()
	<-l.ended
	if took := time.Since(start); took != after {
		t.Errorf("the Link ended after %v; want %v", took, after)
	}
	if err := l.Err(); !errors.Is(err, why) {
		t.Errorf("the Link ended with %v; want %v", err, why)
	}
}

func wantProtocolError(t *testing.T, l *Link, what string) {
	t.Helper()
	<-l.ended
	var wrong protocolError
	if err := l.Err(); !errors.As(err, &wrong) {
		t.Errorf("%s ended the Link with %v; want a protocol error", what, err)
	}
}

func mustWrite(t *testing.T, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write: %d, %v; want all %d bytes to be queued", n, err, len(p))
	}
}

func TestLinkToASilentPeerEndsAfterAPing(t *testing.T) {
	for _, c := range []Config{{}, {Keepalive: time.Second, Timeout: 7 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			link, p, reading := linked(t, c)
			c := c.withDefaults()
			ping := p.next(t)
			if ping.GetPing() == nil || ping.at.Sub(start) != c.Keepalive {
				t.Errorf("%v came after %v; want a ping after %v of silence", ping.Frame, ping.at.Sub(start), c.Keepalive)
			}
			wantEnd(t, link, start, c.Keepalive+c.Timeout, ErrSilent)
			if err := <-reading; !errors.Is(err, ErrSilent) {
				t.Errorf("the blocked Read: %v; want ErrSilent", err)
			}
			if _, err := link.Write([]byte("x")); !errors.Is(err, ErrSilent) {
				t.Errorf("Write afterwards: %v; want ErrSilent, it sticks", err)
			}
		})
	}
}

func TestLinkWithUnacknowledgedDataAndASilentPeerEnds(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 3 * time.Second, 14 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			link, _, _ := linked(t, Config{})
			time.Sleep(wait)
			start := time.Now()
			mustWrite(t, link, []byte("hello"))
			wantEnd(t, link, start, 8*time.Second, ErrSilent)
		})
	}
}

func TestLinkToAPeerThatTakesNothingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, _ := unread(t, Config{})
		start := time.Now()
		mustWrite(t, link, []byte("hello"))
		wantEnd(t, link, start, 8*time.Second, ErrSilent)
	})
}

func TestAnyFrameIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		mustWrite(t, link, []byte("hello"))
		var last time.Time
		for range 5 {
			time.Sleep(7 * time.Second)
			p.say(t, &relayv1.Frame{}) // it acknowledges nothing
			last = time.Now()
		}
		synctest.Wait()
		if err := link.Err(); err != nil {
			t.Fatalf("the Link ended with %v; want it alive, a frame came every 7 s", err)
		}
		wantEnd(t, link, last, 8*time.Second, ErrSilent)
	})
}

func TestAnsweredPingsKeepALinkAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		last := time.Now()
		ids := map[uint64]bool{}
		for range 100 {
			ping := p.next(t)
			if ping.at.Sub(last) != 15*time.Second || ids[ping.GetPing().GetId()] {
				t.Fatalf("%v came %v after the last sign of life; want a new ping after 15 s", ping.Frame, ping.at.Sub(last))
			}
			ids[ping.GetPing().GetId()] = true
			time.Sleep(time.Second)
			p.say(t, &relayv1.Frame{Pong: &relayv1.Pong{Id: ping.GetPing().GetId()}})
			synctest.Wait()
			last = time.Now()
		}
		if err := link.Err(); err != nil {
			t.Errorf("the Link ended with %v; want it alive, all pings were answered", err)
		}
	})
}

func TestAcknowledgedDataNeedsNoPingSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		mustWrite(t, link, []byte("hello"))
		p.next(t)
		time.Sleep(7 * time.Second)
		p.say(t, &relayv1.Frame{Ack: 5})
		heard := time.Now()
		if ping := p.next(t); ping.GetPing() == nil || ping.at.Sub(heard) != 15*time.Second {
			t.Errorf("%v came %v after the acknowledgement; want a ping after 15 s", ping.Frame, ping.at.Sub(heard))
		}
	})
}

func TestPingIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, _ := linked(t, Config{})
		p.say(t, &relayv1.Frame{Ping: &relayv1.Ping{Id: 42}})
		asked := time.Now()
		if pong := p.next(t); pong.GetPong().GetId() != 42 || !pong.at.Equal(asked) {
			t.Errorf("%v came after %v; want a pong with the id 42 at once", pong.Frame, pong.at.Sub(asked))
		}
	})
}

func TestSmallDataIsAcknowledgedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, _ := linked(t, Config{})
		start := time.Now()
		p.say(t, &relayv1.Frame{Data: []byte("hello")})
		time.Sleep(ackDelay / 2)
		p.say(t, &relayv1.Frame{Data: []byte("world")})
		p.quiet(t, "the acknowledgement may wait for company")
		if ack := p.next(t); ack.GetAck() != 10 || ack.at.Sub(start) != ackDelay {
			t.Errorf("%v came after %v; want the count 10 after %v", ack.Frame, ack.at.Sub(start), ackDelay)
		}
		time.Sleep(time.Second)
		p.quiet(t, "all was acknowledged")
	})
}

func TestSomeDataIsAcknowledgedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, _ := linked(t, Config{})
		p.say(t, &relayv1.Frame{Data: noise(1, ackSome-1)})
		p.quiet(t, "that is one byte too little")
		p.say(t, &relayv1.Frame{Data: []byte("x")})
		if ack := p.next(t); ack.GetAck() != ackSome {
			t.Errorf("%v came; want the count %d at once, nothing was acknowledged lately", ack.Frame, ackSome)
		}
		start := time.Now()
		p.say(t, &relayv1.Frame{Data: noise(1, ackSome)})
		p.quiet(t, "the last acknowledgement is not yet old")
		if ack := p.next(t); ack.GetAck() != 2*ackSome || ack.at.Sub(start) != ackPause {
			t.Errorf("%v came after %v; want the count %d after %v", ack.Frame, ack.at.Sub(start), 2*ackSome, ackPause)
		}
	})
}

func TestMuchDataIsAcknowledgedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, _ := linked(t, Config{})
		p.say(t, &relayv1.Frame{Data: noise(1, ackSome)})
		p.next(t)
		start := time.Now()
		p.say(t, &relayv1.Frame{Data: noise(1, ackMuch)})
		if ack := p.next(t); ack.GetAck() != ackSome+ackMuch || !ack.at.Equal(start) {
			t.Errorf("%v came after %v; want the count %d at once", ack.Frame, ack.at.Sub(start), ackSome+ackMuch)
		}
	})
}

func TestAcknowledgementTravelsWithData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		p.say(t, &relayv1.Frame{Data: []byte("question")})
		synctest.Wait()
		mustWrite(t, link, []byte("answer"))
		if f := p.next(t); f.GetAck() != 8 || string(f.GetData()) != "answer" {
			t.Errorf("the Link sent %v; want the answer with the count 8", f.Frame)
		}
		time.Sleep(time.Second)
		p.quiet(t, "the acknowledgement went out with the data")
	})
}

func TestHeaderAndBodyAreOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		c := newCarrier(link, newWindows(1<<20, 1<<20))
		data := yamuxFrame(yamuxData, 5, []byte("hello")...)
		mustWrite(t, c, data[:yamuxHeader])
		p.quiet(t, "the body comes with the next Write")
		mustWrite(t, c, data[yamuxHeader:])
		if f := p.next(t); !bytes.Equal(f.GetData(), data) {
			t.Errorf("the Link sent %x; want header and body as one message, %x", f.GetData(), data)
		}
		streamEnd := yamuxFrame(yamuxWindowUpdate, 0)
		streamEnd[yamuxFlagsAt+1] = yamuxFIN
		for name, alone := range map[string][]byte{
			"a stream's end":              streamEnd,
			"a data frame without a body": yamuxFrame(yamuxData, 0),
			"a go-away":                   yamuxFrame(yamuxGoAway, 1),
		} {
			mustWrite(t, c, alone)
			synctest.Wait()
			if f := p.next(t); !bytes.Equal(f.GetData(), alone) {
				t.Errorf("%s was sent as %x; want it at once and alone, no body follows", name, f.GetData())
			}
		}
	})
}

func TestWaitingDataIsGatheredIntoOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, ws := unread(t, Config{})
		var want [][]byte
		for i := range 10 {
			piece := bytes.Repeat([]byte{byte(i)}, 100)
			mustWrite(t, link, piece)
			synctest.Wait() // the first message is stuck: nobody reads
			want = append(want, piece)
		}
		p := &peer{ws: ws, frames: make(chan arrival, 1000)}
		go p.listen()
		if f := p.next(t); !bytes.Equal(f.GetData(), want[0]) {
			t.Errorf("the first message has %d bytes; want the first 100, they were not made to wait", len(f.GetData()))
		}
		if f := p.next(t); !bytes.Equal(f.GetData(), bytes.Join(want[1:], nil)) {
			t.Errorf("the second message has %d bytes; want all 900 that were waiting", len(f.GetData()))
		}
	})
}

func TestLargeWriteIsSentInFramesOfOneChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		want := noise(7, 5*maxFrameData+100)
		mustWrite(t, link, want)
		var got []byte
		for len(got) < len(want) {
			f := p.next(t)
			if len(f.GetData()) > maxFrameData {
				t.Errorf("a frame has %d bytes; want at most %d, everybody waits for it", len(f.GetData()), maxFrameData)
			}
			got = append(got, f.GetData()...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the peer got other bytes than were written")
		}
	})
}

func TestLinkReadsWhatThePeerSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, ws := unread(t, Config{})
		go (&peer{ws: ws, frames: make(chan arrival, 1000)}).listen()
		want := noise(8, maxPeerData+1000)
		go func() {
			// The second frame has the most data that a frame may hold.
			for _, data := range [][]byte{want[:10], want[10 : maxPeerData+10], want[maxPeerData+10:]} {
				frame, _ := proto.Marshal(&relayv1.Frame{Data: data})
				_ = ws.WriteMessage(websocket.BinaryMessage, frame)
			}
		}()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(link, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Read gave other bytes than the peer sent, error %v", err)
		}
	})
}

// blockedWriter fills the replay buffer of a Link and begins another Write.
func blockedWriter(t *testing.T, link *Link) <-chan error {
	t.Helper()
	mustWrite(t, link, make([]byte, link.config.ReplayBuffer))
	done := make(chan error, 1)
	go func() {
		_, err := link.Write([]byte("one more"))
		done <- err
	}()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("Write returned %v with a full replay buffer; want it to wait", err)
	default:
	}
	return done
}

func TestFullReplayBufferBlocksWriteUntilAnAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{ReplayBuffer: 100_000})
		done := blockedWriter(t, link)
		p.say(t, &relayv1.Frame{Ack: 7})
		synctest.Wait()
		if len(done) != 0 {
			t.Errorf("Write of 8 bytes passed with room for 7")
		}
		p.say(t, &relayv1.Frame{Ack: 8})
		if err := <-done; err != nil {
			t.Errorf("the blocked Write: %v; want nil once there is room", err)
		}
	})
}

func TestBlockedWriteIsFreedWhenTheLinkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{ReplayBuffer: 100_000})
		done := blockedWriter(t, link)
		_ = p.ws.Close()
		if err := <-done; err == nil || err != link.Err() {
			t.Errorf("the blocked Write: %v; want the Link's own error, %v", err, link.Err())
		}
	})
}

func TestWriteLargerThanTheReplayBufferIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{ReplayBuffer: 1000})
		mustWrite(t, link, make([]byte, 5000))
		if f := p.next(t); len(f.GetData()) != 5000 {
			t.Errorf("the peer got %d bytes; want 5000: one write may pass an empty buffer", len(f.GetData()))
		}
	})
}

func TestImpossibleAcknowledgementEndsTheLink(t *testing.T) {
	for name, acks := range map[string][]uint64{
		"beyond what was sent":            {101},
		"beyond, after one that is right": {100, 101},
		"going back":                      {60, 59},
		"the largest number":              {1<<64 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, p, _ := linked(t, Config{})
				mustWrite(t, link, make([]byte, 100))
				p.next(t)
				for _, ack := range acks {
					synctest.Wait()
					if err := link.Err(); err != nil {
						t.Fatalf("the Link ended with %v in front of the count %d", err, ack)
					}
					p.say(t, &relayv1.Frame{Ack: ack})
				}
				wantProtocolError(t, link, "an acknowledgement "+name)
			})
		})
	}
}

func TestRepeatedAcknowledgementSaysNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		mustWrite(t, link, make([]byte, 100))
		p.next(t)
		for _, ack := range []uint64{0, 60, 60, 0, 100, 100} {
			p.say(t, &relayv1.Frame{Ack: ack})
		}
		synctest.Wait()
		if err := link.Err(); err != nil {
			t.Errorf("the Link ended with %v; want it alive, the count never went back", err)
		}
	})
}

func TestMessageThatIsNoFrameEndsTheLink(t *testing.T) {
	tooMuch, _ := proto.Marshal(&relayv1.Frame{Data: make([]byte, maxPeerData+1)})
	for name, test := range map[string]struct {
		kind int
		b    []byte
	}{
		"a text message": {websocket.TextMessage, nil},
		"garbage":        {websocket.BinaryMessage, []byte{0xff}},
		"too much data":  {websocket.BinaryMessage, tooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, p, _ := linked(t, Config{})
				_ = p.ws.WriteMessage(test.kind, test.b)
				wantProtocolError(t, link, name)
			})
		})
	}
}

func TestOversizedMessageEndsTheLinkBeforeItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		_ = p.ws.WriteMessage(websocket.BinaryMessage, make([]byte, maxPeerData+maxControl+1))
		<-link.ended
		if err := link.Err(); !errors.Is(err, websocket.ErrReadLimit) {
			t.Errorf("the Link ended with %v; want %v", err, websocket.ErrReadLimit)
		}
	})
}

func TestCloseSendsWhatIsWaitingThenClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		want := noise(9, 3*maxFrameData+1)
		mustWrite(t, link, want)
		done := make(chan struct{})
		go func() {
			defer close(done)
			link.shut(&ClosedError{Code: CloseShutdown, Detail: "a new version"})
		}()
		var got []byte
		var last arrival
		for last.GetClose() == nil {
			last = p.next(t)
			got = append(got, last.GetData()...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the peer got %d bytes; want all %d that were written before Close", len(got), len(want))
		}
		if c := last.GetClose(); c.GetCode() != relayv1.Close_CODE_SHUTDOWN || c.GetDetail() != "a new version" {
			t.Errorf("the peer was told %v; want the code and the detail", c)
		}
		if f, more := <-p.frames; more || !websocket.IsCloseError(p.err, websocket.CloseNormalClosure) {
			t.Errorf("behind Close came %v, %v; want only the end of the WebSocket", f.Frame, p.err)
		}
		_ = p.ws.Close()
		<-done
		var closed *ClosedError
		if err := link.Err(); !errors.As(err, &closed) || closed.Code != CloseShutdown || closed.Remote {
			t.Errorf("the Link ended with %v; want its own reason, not the peer's going", err)
		}
	})
}

func TestCloseTakesALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, _ := unread(t, Config{})
		go func() { _, _ = io.Copy(io.Discard, link) }()
		mustWrite(t, link, []byte("nobody takes this"))
		start := time.Now()
		if err := link.Close(); err != nil {
			t.Errorf("Close: %v; want nil", err)
		}
		if took := time.Since(start); took != closeTimeout {
			t.Errorf("Close took %v; want %v when the peer takes nothing", took, closeTimeout)
		}
		if err := link.Close(); err != nil || time.Since(start) != closeTimeout {
			t.Errorf("Close again: %v after %v; want nil at once", err, time.Since(start)-closeTimeout)
		}
	})
}

func TestPeersCloseEndsTheLinkWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, ws := unread(t, Config{})
		frame, _ := proto.Marshal(&relayv1.Frame{Data: []byte("last words"), Close: &relayv1.Close{
			Code: relayv1.Close_CODE_UNAUTHORIZED, Detail: "the token has expired"}})
		go func() { _ = ws.WriteMessage(websocket.BinaryMessage, frame) }()
		got, err := io.ReadAll(link)
		if string(got) != "last words" {
			t.Errorf("Read gave %q; want what came with the Close frame first", got)
		}
		var closed *ClosedError
		if !errors.As(err, &closed) || *closed != (ClosedError{CloseUnauthorized, "the token has expired", true}) {
			t.Errorf("Read: %v; want a *ClosedError with the peer's code and detail, and Remote", err)
		}
		if !errors.Is(link.Err(), err) {
			t.Errorf("Err: %v; want the same, %v", link.Err(), err)
		}
	})
}

func TestDrainIsNoticedAndChangesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		for range 2 { // a second one is harmless
			p.say(t, &relayv1.Frame{Drain: &relayv1.Drain{GraceMs: 1000}})
		}
		<-link.drained
		mustWrite(t, link, []byte("still here"))
		if f := p.next(t); string(f.GetData()) != "still here" {
			t.Errorf("the Link sent %v; want the data, a drain ends nothing", f.Frame)
		}
	})
}

func TestAnnounceSendsADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		link.announce(90*time.Second, strings.Repeat("x", 10*maxControl))
		drain := p.next(t).GetDrain()
		if drain.GetGraceMs() != 90_000 || drain.GetDetail() != strings.Repeat("x", maxDetail) {
			t.Errorf("the peer was told %v; want 90000 ms and the detail, clipped", drain)
		}
	})
}

// never is how a writer waits that does not give up.
func never() <-chan struct{} { return nil }

func TestBusyLinkMakesLargeWritersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, ws := unread(t, Config{})
		mustWrite(t, link, make([]byte, mostChunk-1+maxFrameData))
		giveUp := make(chan struct{})
		left, stayed := make(chan bool, 1), make(chan bool, 1)
		go func() { left <- link.waitTurn(func() <-chan struct{} { return giveUp }) }()
		synctest.Wait()
		go func() { stayed <- link.waitTurn(never) }()
		synctest.Wait()
		if len(left)+len(stayed) != 0 {
			t.Errorf("a large writer passed a Link with %d bytes unsent; want it to wait", mostChunk-1+maxFrameData)
		}
		close(giveUp)
		if <-left {
			t.Errorf("waitTurn that was given up reported a turn")
		}
		go func() { _, _, _ = ws.NextReader(); _, _, _ = ws.NextReader() }()
		if !<-stayed {
			t.Errorf("waitTurn reported no turn although one frame was sent")
		}
	})
}

func TestEndOfTheLinkFreesWhoeverWaitsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, _ := unread(t, Config{})
		mustWrite(t, link, make([]byte, mostChunk-1+maxFrameData))
		turn := make(chan bool, 1)
		go func() { turn <- link.waitTurn(never) }()
		synctest.Wait()
		link.fail(ErrSilent)
		if !<-turn || !link.waitTurn(never) {
			t.Errorf("waitTurn reported no turn; want one, Write says then why the Link has ended")
		}
	})
}

func TestLongDetailOfADrainIsNotCutInsideARune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		link.announce(time.Second, "x"+strings.Repeat("é", 300))
		if f := p.next(t); f.GetDrain() == nil {
			t.Errorf("got %v; want the drain", f.Frame)
		}
		mustWrite(t, link, []byte("hello"))
		if f := p.next(t); string(f.GetData()) != "hello" {
			t.Errorf("got %v behind it; want the data", f.Frame)
		}
	})
}

func TestLongDetailOfACloseIsNotCutInsideARune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		go link.shut(&ClosedError{Code: CloseShutdown, Detail: "x" + strings.Repeat("é", 300)})
		if f := p.next(t); f.GetClose().GetCode() != relayv1.Close_CODE_SHUTDOWN {
			t.Errorf("got %v; want it with its detail", f.Frame)
		}
	})
}

func TestUnknownCloseCodeIsUnspecified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		p.say(t, &relayv1.Frame{Close: &relayv1.Close{Code: 99}})
		<-link.ended
		var c *ClosedError
		if !errors.As(link.Err(), &c) || c.Code != CloseUnspecified {
			t.Errorf("the Link ended with %v; want a close for no reason that is known", link.Err())
		}
	})
}

func TestReadAfterTheEndReturnsTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, _ := unread(t, Config{})
		link.fail(ErrSilent)
		for range 1500 {
			if _, err := link.Read(make([]byte, 1)); !errors.Is(err, ErrSilent) {
				t.Fatalf("Read: %v; want why the Link ended", err)
			}
		}
	})
}

func TestPeerThatBreaksTheProtocolIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, p, _ := linked(t, Config{})
		p.say(t, &relayv1.Frame{Ack: 5})
		<-link.ended
		if f, ok := <-p.frames; !ok || f.GetClose().GetCode() != relayv1.Close_CODE_PROTOCOL_ERROR {
			t.Errorf("the peer was sent %v, then %v; want a Close with the reason", f.Frame, p.err)
		}
	})
}

// A WebSocket is lost after it carried some bytes and before the sender counted
// them; their acknowledgement, which had come already, is taken in after that.
func TestAcknowledgementOfWhatALostWebSocketCarried(t *testing.T) {
	near, far := webSockets(t)
	defer far.Close()
	defer near.Close()
	link := newLink(Config{}.withDefaults(), time.Minute, hooks{})
	defer link.ackTimer.Stop()
	link.mu.Lock()
	link.take(near, "")
	link.out.append([]byte("hello"))
	var o outgoing
	if err := link.gather(&o); err != nil {
		t.Fatal(err)
	}
	link.letGo(errTakenOver)
	link.mu.Unlock()
	link.posted(&o, nil)
	link.mu.Lock()
	defer link.mu.Unlock()
	if err := link.acknowledged(5, 0); err != nil {
		t.Errorf("the acknowledgement of 5 bytes that were sent: %v", err)
	}
	if err := link.acknowledged(6, 0); err == nil {
		t.Error("the acknowledgement of a sixth byte, which was not sent, was taken")
	}
}
