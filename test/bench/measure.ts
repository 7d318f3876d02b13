/** Times the benchmarks of plain functions and prints the results. */

/** Prints the time and rate of one operation. */
export const print = (name: string, nanoseconds: number): void =>
  console.log(
    `${name.padEnd(56)} ${nanoseconds.toFixed(1).padStart(8)} ns  ${Math.round(1e9 / nanoseconds).toLocaleString("en")}/s`
  )

/**
 * Prints the best of seven runs of about a tenth of a second, because the machine is shared. `operationsPerTurn` is the
 * number of operations in one call of `turn`.
 */
export const measure = (name: string, operationsPerTurn: number, turn: () => void): void => {
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run < 7; run++) {
    let turns = 0
    const start = performance.now()
    while (performance.now() - start < 100) {
      turn()
      turns++
    }
    best = Math.min(best, ((performance.now() - start) * 1e6) / (turns * operationsPerTurn))
  }
  print(name, best)
}
