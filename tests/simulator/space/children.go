package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// children are the programs that run in the space.
type children struct {
	mutex  sync.Mutex
	closed bool
}

// newChildren also makes this process the one that adopts orphans below it, so that a program which left its group and
// its parent behind (a daemon) is still found and ended with the space.
func newChildren() *children {
	const prSetChildSubreaper = 36
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
	return &children{}
}

// start starts a program, unless the space is ending.
func (c *children) start(command *exec.Cmd) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	return command.Start()
}

// killAll ends everything below this process; nothing can be started afterwards.
func (c *children) killAll() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.closed = true
	// A program may fork while the list is read, so it is read until nothing new is on it.
	killed := map[int]bool{}
	for again := true; again; {
		again = false
		for _, pid := range below(os.Getpid()) {
			if !killed[pid] {
				killed[pid] = true
				again = true
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// below lists the live descendants of a process.
func below(root int) []int {
	parents := map[int]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// The name, in parentheses, may hold anything; state and parent follow it.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			parents[pid] = parent
		}
	}
	var found []int
	for pid := range parents {
		for at := parents[pid]; at > 1; at = parents[at] {
			if at == root {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
