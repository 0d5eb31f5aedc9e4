package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// state is the note that ferry client leaves for ferry env: a file with the
// proxy's URL that only its user can write. The newest client's note counts.
type state struct{ path string }

// file returns where the note is. The path is fixed for a user, so that both
// commands find it without being told.
func (s *state) file() (string, error) {
	if s.path != "" {
		return s.path, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the note, give one with --state: %w", err)
	}
	return filepath.Join(dir, "ferry", "client"), nil
}

// write replaces the note in one step.
func (s *state) write(proxy *url.URL) error {
	path, err := s.file()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".ferry-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = fmt.Fprintln(temporary, proxy)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// remove takes the note back, unless it is a newer client's.
func (s *state) remove(proxy *url.URL) {
	path, err := s.file()
	if err != nil {
		return
	}
	if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == proxy.String() {
		_ = os.Remove(path)
	}
}

// read returns the URL of the running client.
func (s *state) read() (*url.URL, error) {
	path, err := s.file()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("no client is running; start one with: ferry client --url URL")
	}
	if err != nil {
		return nil, err
	}
	proxy, err := url.Parse(strings.TrimSpace(string(b)))
	if err != nil || proxy.Host == "" {
		return nil, fmt.Errorf("%s is not a note of ferry client", path)
	}
	conn, err := net.DialTimeout("tcp", proxy.Host, time.Second)
	if err != nil {
		return nil, fmt.Errorf("the client at %s is not running any more; start one with: ferry client --url URL", proxy)
	}
	return proxy, conn.Close()
}
