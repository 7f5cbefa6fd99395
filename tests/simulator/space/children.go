package main

import (
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// children are the programs that run in the space.
type children struct {
	mutex   sync.Mutex
	closed  bool
	started map[int]bool
}

// newChildren also makes this process the one that adopts orphans below it, so that a program which left its group and
// its parent behind (a daemon) is taken leave of when it ends, and is found where no namespace ends it with the space.
func newChildren() *children {
	const prSetChildSubreaper = 36
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
	c := &children{started: map[int]bool{}}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		for range ended {
			c.reap()
		}
	}()
	return c
}

// start starts a program, unless the space is ending; its end is learnt by wait.
func (c *children) start(command *exec.Cmd) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	err := command.Start()
	if err == nil {
		c.started[command.Process.Pid] = true
	}
	return err
}

func (c *children) wait(command *exec.Cmd) error {
	err := command.Wait()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.started, command.Process.Pid)
	return err
}

// reap takes leave of adopted programs that have ended.
func (c *children) reap() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for pid, process := range processes() {
		if process.parent == os.Getpid() && process.state == "Z" && !c.started[pid] {
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
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

type process struct {
	state  string
	parent int
}

func processes() map[int]process {
	found := map[int]process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
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
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			found[pid] = process{fields[0], parent}
		}
	}
	return found
}

// below lists the live descendants of a process.
func below(root int) []int {
	all := processes()
	var found []int
	for pid, process := range all {
		if process.state == "Z" {
			continue
		}
		for at := process.parent; at > 1; at = all[at].parent {
			if at == root {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
