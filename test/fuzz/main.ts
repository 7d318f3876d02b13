/**
 * Fuzzes all targets: `node test/fuzz/main.ts INPUTS SEED`. Prints what was reached, and faults on standard error. `npm
 * run soak -- fuzz` runs it in a process of its own, so that one that hangs can be killed.
 */
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
