package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// perconnect is the older shape: a WebSocket for each tunnel, and a protobuf
// message for each read. Its buffers hold a message each, which is kinder to it than
// gorilla's defaults.

const (
	// perRead is how much it reads at once, as io.Copy does.
	perRead = 32 << 10
	// perMessage holds that, and what is around it.
	perMessage = perRead + 1<<10
)

var (
	perconnectDialer   = websocket.Dialer{ReadBufferSize: perMessage, WriteBufferSize: perMessage}
	perconnectUpgrader = websocket.Upgrader{ReadBufferSize: perMessage, WriteBufferSize: perMessage}
)

// perconnectClient opens a WebSocket for each CONNECT.
func perconnectClient(h *halfCommand) (string, error) {
	return serve(func(tool tcp) {
		head, early, err := readHead(tool)
		if err != nil {
			return
		}
		ws, err := openWebSocket(h.Server, head)
		if err != nil {
			_, _ = io.WriteString(tool, refused)
			return
		}
		_, _ = io.WriteString(tool, established)
		if len(early) > 0 {
			_ = send(ws, dataChunk(early))
		}
		relay(tool, ws) // which meets what failed
	})
}

// openWebSocket returns a WebSocket whose target is connected.
func openWebSocket(server string, head []byte) (*websocket.Conn, error) {
	target, err := requested(head)
	if err != nil {
		return nil, err
	}
	ws, answer, err := perconnectDialer.Dial("ws://"+server+"/", nil)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	if err := handshake(ws, target); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return ws, nil
}

// handshake names the target, and waits until it is connected.
func handshake(ws *websocket.Conn, target string) error {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	if err := send(ws, &relayv1.Chunk{Kind: &relayv1.Chunk_Connect{
		Connect: &relayv1.Connect{Host: host, Port: uint32(number)}}}); err != nil {
		return err
	}
	answer, err := receive(ws)
	if err == nil && answer.GetConnected() == nil {
		err = fmt.Errorf("refused: %v", answer.GetRefused())
	}
	return err
}

// perconnectServer connects each WebSocket to its target.
func perconnectServer(*halfCommand) (string, error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := perconnectUpgrader.Upgrade(w, r, nil)
			if err == nil {
				serveWebSocket(ws)
				_ = ws.Close()
			}
		}))
	}()
	return l.Addr().String(), nil
}

func serveWebSocket(ws *websocket.Conn) {
	first, err := receive(ws)
	if err != nil {
		return
	}
	host, port := first.GetConnect().GetHost(), first.GetConnect().GetPort()
	target, err := dial(net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		_ = send(ws, &relayv1.Chunk{Kind: &relayv1.Chunk_Refused{Refused: &relayv1.Refused{Detail: err.Error()}}})
		return
	}
	defer target.Close()
	if send(ws, &relayv1.Chunk{Kind: &relayv1.Chunk_Connected{Connected: &relayv1.Connected{}}}) == nil {
		relay(target, ws)
	}
}

// relay copies both ways until both have ended, and closes both; an error ends
// both.
func relay(c tcp, ws *websocket.Conn) {
	end := func(err error) {
		if err != nil {
			_ = c.Close()
			_ = ws.Close()
		}
	}
	var both sync.WaitGroup
	both.Go(func() { end(toWebSocket(ws, c)) })
	both.Go(func() { end(toTCP(c, ws)) })
	both.Wait()
	end(io.EOF)
}

// toWebSocket wraps every read in a message.
func toWebSocket(ws *websocket.Conn, c tcp) error {
	b := make([]byte, perRead)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if err := send(ws, dataChunk(b[:n])); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return send(ws, &relayv1.Chunk{Kind: &relayv1.Chunk_End{End: &relayv1.End{}}})
		}
		if err != nil {
			return err
		}
	}
}

func toTCP(c tcp, ws *websocket.Conn) error {
	for {
		chunk, err := receive(ws)
		if err != nil {
			return err
		}
		if chunk.GetEnd() != nil {
			return c.CloseWrite()
		}
		if _, err := c.Write(chunk.GetData()); err != nil {
			return err
		}
	}
}

func dataChunk(b []byte) *relayv1.Chunk {
	return &relayv1.Chunk{Kind: &relayv1.Chunk_Data{Data: b}}
}

func send(ws *websocket.Conn, chunk *relayv1.Chunk) error {
	b, err := proto.Marshal(chunk)
	if err != nil {
		return err
	}
	return ws.WriteMessage(websocket.BinaryMessage, b)
}

func receive(ws *websocket.Conn) (*relayv1.Chunk, error) {
	_, b, err := ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	chunk := new(relayv1.Chunk)
	return chunk, proto.Unmarshal(b, chunk)
}
