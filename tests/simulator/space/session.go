package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// session is one session channel: what it asked for so far and the one program that runs in it.
type session struct {
	conn     *ssh.ServerConn
	channel  ssh.Channel
	opts     options
	children *children

	env      []string
	terminal *terminal
	agent    *agentSocket
	command  *exec.Cmd
}

// realUser is whom programs in a real space run as.
const realUser = "sagemaker-user"

type envPayload struct{ Name, Value string }
type stringPayload struct{ Value string }
type exitStatusPayload struct{ Status uint32 }
type exitSignalPayload struct {
	Signal   string
	Core     bool
	Message  string
	Language string
}

// serve answers the requests of the channel until the client closes it.
func (s *session) serve(requests <-chan *ssh.Request) {
	for request := range requests {
		ok := s.handle(request)
		if request.WantReply {
			request.Reply(ok, nil)
		}
		// What the program prints must not overtake the reply to the request that started it.
		if ok && s.command == nil {
			switch request.Type {
			case "exec":
				var payload stringPayload
				ssh.Unmarshal(request.Payload, &payload)
				s.start("/bin/bash", []string{"-c", payload.Value}, false)
			case "shell":
				s.start("/bin/bash", []string{"-l"}, true)
			case "subsystem":
				s.startSftp()
			}
		}
	}
	// Closing the terminal hangs up on what runs in it; a program without one notices by its pipes.
	if s.agent != nil {
		s.agent.close()
	}
	if s.terminal != nil {
		s.terminal.close()
	}
}

// handle decides a request; programs are started by the caller, after the reply.
func (s *session) handle(request *ssh.Request) bool {
	switch request.Type {
	case "env":
		var payload envPayload
		if ssh.Unmarshal(request.Payload, &payload) != nil {
			return false
		}
		// The home of a real space's user stands for the private folder that plays it here.
		if payload.Name == "HOME" && payload.Value == "/home/"+realUser {
			payload.Value = s.opts.home
		}
		s.env = append(s.env, payload.Name+"="+payload.Value)
		return true
	case "pty-req":
		return s.openTerminal(request.Payload)
	case "window-change":
		return s.resize(request.Payload)
	case "exec":
		var payload stringPayload
		return s.command == nil && ssh.Unmarshal(request.Payload, &payload) == nil
	case "shell":
		return s.command == nil
	case "subsystem":
		var payload stringPayload
		return s.command == nil && ssh.Unmarshal(request.Payload, &payload) == nil && payload.Value == "sftp"
	case "signal":
		return s.signal(request.Payload)
	case "auth-agent-req@openssh.com":
		return s.openAgent()
	default:
		return false
	}
}

// environment is what a program starts with. AWS's server sets neither HOME nor USER for execs, so we do not either.
func (s *session) environment(login bool) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SHELL=/bin/bash"}
	if login {
		env = append(env, "HOME="+s.opts.home, "USER="+realUser, "LOGNAME="+realUser)
	}
	if s.terminal != nil {
		env = append(env, "TERM="+s.terminal.kind)
	}
	if s.agent != nil {
		env = append(env, "SSH_AUTH_SOCK="+s.agent.path)
	}
	return append(env, s.env...)
}

// start runs a program on the channel, on a terminal if one was asked for.
func (s *session) start(program string, args []string, login bool) {
	command := exec.Command(program, args...)
	command.Dir = s.opts.home
	command.Env = s.environment(login)
	s.command = command
	var err error
	if s.terminal != nil {
		err = s.startOnTerminal(command)
	} else {
		err = s.startOnPipes(command)
	}
	if err != nil {
		io.WriteString(s.channel.Stderr(), err.Error()+"\n")
		s.exit(127)
	}
}

func (s *session) startOnPipes(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := command.StdinPipe()
	if err != nil {
		return err
	}
	command.Stdout = s.channel
	command.Stderr = s.channel.Stderr()
	if err := s.children.start(command); err != nil {
		return err
	}
	go func() {
		io.Copy(stdin, s.channel)
		stdin.Close()
	}()
	go s.wait(command, nil)
	return nil
}

func (s *session) startOnTerminal(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	command.Stdin, command.Stdout, command.Stderr = s.terminal.slave, s.terminal.slave, s.terminal.slave
	if err := s.children.start(command); err != nil {
		return err
	}
	s.terminal.slave.Close()
	go io.Copy(s.terminal.master, s.channel)
	drained := make(chan struct{})
	go func() {
		io.Copy(s.channel, s.terminal.master)
		close(drained)
	}()
	go s.wait(command, drained)
	return nil
}

// wait reports how the program ended, after all of its output.
func (s *session) wait(command *exec.Cmd, drained <-chan struct{}) {
	err := s.children.wait(command)
	if drained != nil {
		// A background program may hold the terminal open; the session is over all the same.
		select {
		case <-drained:
		case <-time.After(500 * time.Millisecond):
		}
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		status := failed.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			s.exitSignal(status)
			return
		}
		s.exit(uint32(status.ExitStatus()))
		return
	}
	if err != nil && command.ProcessState == nil {
		s.exit(255)
		return
	}
	s.exit(uint32(command.ProcessState.ExitCode()))
}

func (s *session) exit(status uint32) {
	s.channel.CloseWrite()
	s.channel.SendRequest("exit-status", false, ssh.Marshal(exitStatusPayload{status}))
	s.channel.Close()
}

func (s *session) exitSignal(status syscall.WaitStatus) {
	name := "TERM"
	for known, number := range signals {
		if number == status.Signal() {
			name = known
		}
	}
	s.channel.CloseWrite()
	body := exitSignalPayload{Signal: name, Core: status.CoreDump(), Message: status.Signal().String()}
	s.channel.SendRequest("exit-signal", false, ssh.Marshal(body))
	s.channel.Close()
}

// startSftp serves files inside this process, whose working directory is the space's home.
func (s *session) startSftp() {
	s.command = &exec.Cmd{}
	server, err := sftp.NewServer(s.channel)
	if err != nil {
		s.exit(1)
		return
	}
	go func() {
		// Not server.Close: it would close the channel before the exit status is said.
		err := server.Serve()
		if err != nil && !errors.Is(err, io.EOF) {
			s.exit(1)
			return
		}
		s.exit(0)
	}()
}

// signals are those of RFC 4254 section 6.10.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP,
	"ILL": syscall.SIGILL, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE,
	"QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2,
}

func (s *session) signal(body []byte) bool {
	var payload stringPayload
	if ssh.Unmarshal(body, &payload) != nil {
		return false
	}
	number, known := signals[strings.TrimPrefix(payload.Value, "SIG")]
	if !known || s.command == nil || s.command.Process == nil {
		return false
	}
	return syscall.Kill(-s.command.Process.Pid, number) == nil
}

// terminal is a pseudo-terminal waiting for, or used by, the program of a session.
type terminal struct {
	master, slave *os.File
	kind          string
}

type ptyPayload struct {
	Term          string
	Cols, Rows    uint32
	Width, Height uint32
	Modes         string
}

type windowPayload struct{ Cols, Rows, Width, Height uint32 }

func (s *session) openTerminal(body []byte) bool {
	var payload ptyPayload
	if s.terminal != nil || s.command != nil || ssh.Unmarshal(body, &payload) != nil {
		return false
	}
	master, slave, err := pty.Open()
	if err != nil {
		return false
	}
	s.terminal = &terminal{master: master, slave: slave, kind: payload.Term}
	s.terminal.resize(windowPayload{payload.Cols, payload.Rows, payload.Width, payload.Height})
	return true
}

func (s *session) resize(body []byte) bool {
	var payload windowPayload
	if s.terminal == nil || ssh.Unmarshal(body, &payload) != nil {
		return false
	}
	return s.terminal.resize(payload) == nil
}

func (t *terminal) resize(size windowPayload) error {
	return pty.Setsize(t.master, &pty.Winsize{
		Rows: uint16(size.Rows), Cols: uint16(size.Cols), X: uint16(size.Width), Y: uint16(size.Height),
	})
}

func (t *terminal) close() {
	t.master.Close()
	t.slave.Close()
}

// openAgent makes a socket that leads to the client's agent.
func (s *session) openAgent() bool {
	if s.agent != nil {
		return false
	}
	agent, err := newAgentSocket(s.conn)
	if err != nil {
		return false
	}
	s.agent = agent
	return true
}
