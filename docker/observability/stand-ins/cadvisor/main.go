// cAdvisor's own packages with a main of ours: its command is a module that not every place can fetch.
// Takes the flags of the command that the stack uses, and the packages' own (-docker_only, -housekeeping_interval, …).
package main

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/docker/install"
	_ "github.com/google/cadvisor/fs/overlay/install"
	_ "github.com/google/cadvisor/fs/vfs/install"
	v2 "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
)

var (
	port     = flag.Int("port", 8080, "port to listen on")
	labels   = flag.Bool("store_container_labels", true, "all labels of containers as labels of metrics")
	wanted   = flag.String("whitelisted_container_labels", "", "labels to keep when not all are, separated by commas")
	disabled = container.MetricSet{}
	enabled  = container.MetricSet{}
)

func main() {
	flag.Var(&disabled, "disable_metrics", "kinds of metrics to leave out, separated by commas")
	flag.Var(&enabled, "enable_metrics", "the only kinds of metrics, separated by commas; overrides -disable_metrics")
	klog.InitFlags(nil)
	flag.Parse()
	included := container.AllMetrics.Difference(disabled)
	if len(enabled) > 0 {
		included = enabled
	}
	interval, dynamic := manager.HousekeepingInterval, true
	watch, err := manager.New(memory.New(2*time.Minute, nil), sysfs.NewRealSysFs(), manager.HousekeepingConfig{Interval: interval, AllowDynamic: &dynamic},
		included, http.DefaultClient, []string{""}, []string{""}, "", 0)
	if err != nil {
		klog.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		klog.Fatal(err)
	}
	naming := metrics.DefaultContainerLabels
	if !*labels {
		naming = metrics.BaseContainerLabels(strings.Split(*wanted, ","))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewPrometheusCollector(watch, naming, included, clock.RealClock{}, v2.RequestOptions{IdType: v2.TypeName, Count: 1, Recursive: true}),
		metrics.NewPrometheusMachineCollector(watch, included),
	)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	klog.Fatal(http.ListenAndServe(fmt.Sprintf(":%d", *port), nil))
}
