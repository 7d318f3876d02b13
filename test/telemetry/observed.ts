/**
 * What an operator would see of a program: its metrics, spans and logs, in place of exporters.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"

/** A registry that counts how often a series is looked up: every update of a metric does so. */
export class CountingRegistry extends Map<string, Metric.Metric.Metadata<unknown, unknown>> {
  lookups = 0

  override get(key: string) {
    this.lookups++
    return super.get(key)
  }
}

/** A log entry. */
export interface Logged {
  readonly level: LogLevel.LogLevel
  readonly message: unknown
  readonly annotations: Readonly<Record<string, unknown>>
  /** The id of the span that it belongs to. */
  readonly spanId: string | undefined
}

/** Makes a place for what a program reports, and what provides it. */
export const make = (minimum: LogLevel.LogLevel = "Debug") => {
  const registry = new CountingRegistry()
  const spans: Array<Tracer.NativeSpan> = []
  const logs: Array<Logged> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const logger = Logger.make(({ fiber, logLevel, message }) => {
    const [text] = [message].flat()
    // The test clock's own, on a busy machine.
    if (String(text).startsWith("A test is using time")) return
    const annotations = { ...fiber.getRef(References.CurrentLogAnnotations) }
    const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
    logs.push({ level: logLevel, message: text, annotations, spanId: span?.spanId })
  })

  /** Runs a program whose metrics, spans and logs go here. */
  const within = <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    program.pipe(
      Effect.provideService(Metric.MetricRegistry, registry as never),
      Effect.provideService(Tracer.Tracer, tracer),
      Effect.provideService(References.MinimumLogLevel, minimum),
      Effect.provide(Logger.layer([logger, Logger.tracerLogger]))
    )

  /** The metrics now: counts of counters and histograms, and values of gauges, by name and labels. */
  const metrics = (): Readonly<Record<string, number>> =>
    Object.fromEntries(
      Metric.snapshotUnsafe(Context.make(Metric.MetricRegistry, registry as never)).map((metric) => {
        const { time_unit: _, unit: __, ...labels } = metric.attributes ?? {}
        const text = Object.entries(labels).map(([name, value]) => `${name}="${value}"`)
        const { state } = metric as { readonly state: { readonly count?: number; readonly value?: number } }
        return [
          `${metric.id}${text.length === 0 ? "" : `{${text.join(",")}}`}`,
          state.count ?? state.value ?? Number.NaN
        ]
      })
    )

  /** The state of a histogram. */
  const histogram = (name: string) => {
    const all = Metric.snapshotUnsafe(Context.make(Metric.MetricRegistry, registry as never))
    const found = all.find(({ id }) => id === name)
    return found?.type === "Histogram" ? found.state : undefined
  }

  return { registry, spans, logs, within, metrics, histogram }
}
