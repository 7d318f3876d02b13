/**
 * Fuzzes all targets: `node test/fuzz/main.ts INPUTS SEED`. Prints what was reached, and faults on standard error. `npm
 * run soak -- fuzz` runs it in a process of its own, so that one that hangs can be killed.
 */
import * as KrpcFuzz from "../discovery/dht/KrpcFuzz.ts"
import * as Fuzz from "./Fuzz.ts"
import { targets } from "./targets.ts"

const [inputs, seed] = process.argv.slice(2).map(Number) as [number, number]
/** Inputs between two lines about the progress. */
const every = 100_000

for (const target of targets) {
  const progress = (done: number) => {
    if (done > 0 && done % every === 0) console.log(`  ${target.name}: ${done} inputs`)
  }
  const report = Fuzz.run(target, { inputs, seed, progress })
  console.log(Fuzz.describe(target, report))
  for (const fault of report.faults) console.error(fault)
  if (report.faults.length > 0) process.exitCode = 1
}

// The nodes of the DHT keep their state from one input to the next, so they are no target of that kind.
const krpc = KrpcFuzz.fuzz({
  inputs,
  seed,
  progress: (done) => {
    if (done > 0 && done % (KrpcFuzz.batchSize * 400) === 0) console.log(`  krpc: ${done} inputs`)
  }
})
console.log(KrpcFuzz.describe(krpc))
for (const fault of krpc.faults) console.error(fault)
if (krpc.faults.length > 0) process.exitCode = 1
