package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// enter runs this program again as the first process of namespaces of its own, and ends as that one does. When that
// process ends, for whatever reason, the kernel ends everything in them.
func enter() {
	program, err := os.Executable()
	if err != nil {
		log.Fatal("space: ", err)
	}
	command := exec.Command(program, append([]string{"-inside"}, os.Args[1:]...)...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		// Where the machine lets anybody have namespaces.
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The child dies with the thread that started it.
	runtime.LockOSThread()
	err = command.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		os.Exit(1)
	}
	if err != nil {
		log.Fatal("space: ", err)
	}
	os.Exit(0)
}

// furnish makes what the space shows of a machine its own. Nothing of it is seen outside of its mount namespace.
func furnish(opts options) error {
	// The folder may lie below what is about to be covered.
	home, err := os.Open(opts.home)
	if err != nil {
		return err
	}
	defer home.Close()
	const quiet = syscall.MS_NOSUID | syscall.MS_NOEXEC
	err = mount(
		point{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		point{"proc", "/proc", "proc", quiet | syscall.MS_NODEV, ""},
		// The machine's control groups say nothing of one space.
		point{"tmpfs", "/sys/fs/cgroup", "tmpfs", quiet | syscall.MS_NODEV | syscall.MS_RDONLY, ""},
	)
	if err != nil {
		return err
	}
	if err := installDevices(opts.gpus); err != nil {
		return err
	}
	if opts.gpus > 0 {
		if err := installGPUs(opts.gpus); err != nil {
			return err
		}
	}
	if err := mount(point{opts.tmp, "/tmp", "", syscall.MS_BIND, ""}); err != nil {
		return err
	}
	if err := os.MkdirAll(opts.home, 0o755); err != nil {
		return err
	}
	return mount(point{fmt.Sprintf("/proc/self/fd/%d", home.Fd()), opts.home, "", syscall.MS_BIND, ""})
}

// installDevices gives the space the devices that a container has, terminals of its own, and a file for each GPU.
func installDevices(gpus int) error {
	const pathOnly = 0x200000 // O_PATH
	devices := []string{"null", "zero", "full", "random", "urandom", "tty"}
	points := []point{{"tmpfs", "/dev", "tmpfs", syscall.MS_NOSUID, "mode=0755"}}
	for _, name := range devices {
		// Reached by its descriptor, once /dev is covered.
		device, err := syscall.Open("/dev/"+name, pathOnly|syscall.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
		defer syscall.Close(device)
		points = append(points, point{fmt.Sprintf("/proc/self/fd/%d", device), "/dev/" + name, "", syscall.MS_BIND, ""})
	}
	if err := mount(points[0]); err != nil {
		return err
	}
	for index := 0; index < gpus; index++ {
		devices = append(devices, fmt.Sprintf("nvidia%d", index))
	}
	for _, name := range append(devices, "ptmx") {
		if err := os.WriteFile("/dev/"+name, nil, 0o666); err != nil {
			return err
		}
	}
	for _, folder := range []string{"pts", "shm"} {
		if err := os.Mkdir("/dev/"+folder, 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+target, "/dev/"+name); err != nil {
			return err
		}
	}
	return mount(append(points[1:],
		point{"devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
		point{"/dev/pts/ptmx", "/dev/ptmx", "", syscall.MS_BIND, ""},
	)...)
}

// point is where something is mounted, as mount(2) takes it.
type point struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func mount(points ...point) error {
	for _, p := range points {
		if err := syscall.Mount(p.source, p.target, p.kind, p.flags, p.data); err != nil {
			return fmt.Errorf("mount %s: %w", p.target, err)
		}
	}
	return nil
}
