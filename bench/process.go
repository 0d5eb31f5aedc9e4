package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is this program, started again as a half.
type process struct {
	cmd     *exec.Cmd
	stdin   io.Closer // its end ends the process
	address string    // where it listens
}

// start returns when the process listens. It is killed if ctx ends.
func start(ctx context.Context, role string, flags ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, append([]string{"half", role}, flags...)...)}
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.end()
		return nil, fmt.Errorf("%s did not start: %w", role, err)
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// end asks the process to end, and waits for it.
func (p *process) end() {
	_ = p.stdin.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

// tick is the unit of times in /proc (USER_HZ, which is 100 on all of Linux).
const tick = 10 * time.Millisecond

// cpu returns how much time of a CPU the process has used so far.
func (p *process) cpu() (time.Duration, error) {
	b, err := p.proc("stat")
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses; the times are the 14th and 15th.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	user, err1 := strconv.Atoi(string(fields[11]))
	system, err2 := strconv.Atoi(string(fields[12]))
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("can't make sense of /proc/PID/stat: %s", b)
	}
	return time.Duration(user+system) * tick, nil
}

// resident returns how much memory the process has, in bytes.
func (p *process) resident() (int64, error) {
	b, err := p.proc("status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		var kib int64
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/PID/status: %s", b)
}

func (p *process) proc(file string) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
}
