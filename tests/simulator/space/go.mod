// Only for builds outside Debian: there the program is built in GOPATH mode from packaged sources.
module space

go 1.19

require (
	github.com/creack/pty v1.1.18
	github.com/pkg/sftp v1.13.5
	golang.org/x/crypto v0.4.0
)
