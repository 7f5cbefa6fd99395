package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gpuFolder is covered by one of the space's own, with the program that tells of GPUs and what it tells.
const (
	gpuFolder  = "/usr/local/sbin"
	gpuProgram = "nvidia-smi"
	gpuState   = gpuFolder + "/gpus.json"
)

// gpus is what nvidia-smi finds: a load in percent for each, and how it fails.
type gpus struct {
	Load  []int  `json:"load"`
	Fault string `json:"fault"`
}

// installGPUs puts this program where nvidia-smi is looked for.
func installGPUs(count int) error {
	if err := mount(point{"tmpfs", gpuFolder, "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=0755"}); err != nil {
		return err
	}
	program := gpuFolder + "/" + gpuProgram
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		return err
	}
	if err := mount(point{"/proc/self/exe", program, "", syscall.MS_BIND, ""}); err != nil {
		return err
	}
	return gpus{}.write(count)
}

// write makes nvidia-smi find this; GPUs without a load do nothing.
func (g gpus) write(count int) error {
	if len(g.Load) > count {
		return fmt.Errorf("a load for %d GPUs, and the space has %d", len(g.Load), count)
	}
	g.Load = append(make([]int, 0, count), g.Load...)[:count]
	text, err := json.Marshal(g)
	if err != nil {
		return err
	}
	// Whole at any time: it may be read meanwhile.
	if err := os.WriteFile(gpuState+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(gpuState+".new", gpuState)
}

// nvidiaSMI answers as that program does, as far as its CSV goes, and gives the exit status.
func nvidiaSMI(args []string) int {
	var found gpus
	text, err := os.ReadFile(gpuState)
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil || found.Fault == "fails" {
		fmt.Println("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. " +
			"Make sure that the latest NVIDIA driver is installed and running.")
		return 9
	}
	if found.Fault == "hangs" {
		for {
			time.Sleep(time.Hour)
		}
	}
	var fields, format []string
	for _, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "--query-gpu":
			fields = strings.Split(value, ",")
		case "--format":
			format = strings.Split(value, ",")
		default:
			fmt.Printf("Invalid combination of input arguments. %s is not simulated.\n", arg)
			return 2
		}
	}
	if len(fields) == 0 || len(format) == 0 || format[0] != "csv" {
		fmt.Println("Only --query-gpu=FIELDS with --format=csv is simulated.")
		return 2
	}
	header, unit := true, " %"
	for _, word := range format[1:] {
		header = header && word != "noheader"
		if word == "nounits" {
			unit = ""
		}
	}
	return printCSV(found, fields, header, unit)
}

func printCSV(found gpus, fields []string, header bool, unit string) int {
	titles := map[string]string{"index": "index", "utilization.gpu": "utilization.gpu [%]"}
	var row []string
	for _, field := range fields {
		title, known := titles[strings.TrimSpace(field)]
		if !known {
			fmt.Printf("Field %q is not a valid field to query.\n", field)
			return 2
		}
		row = append(row, title)
	}
	if header {
		fmt.Println(strings.Join(row, ", "))
	}
	for index, load := range found.Load {
		for column, field := range fields {
			switch {
			case strings.TrimSpace(field) == "index":
				row[column] = strconv.Itoa(index)
			case found.Fault == "not-available":
				row[column] = "[N/A]"
			default:
				row[column] = strconv.Itoa(load) + unit
			}
		}
		fmt.Println(strings.Join(row, ", "))
	}
	return 0
}
