/** The order in which faults are tried: every kind comes up in each deck, shuffled by the seed. */
import type { Fault } from './faults.ts';

export class Deck {
  readonly #faults: Fault[];
  readonly #random: () => number;
  #cards: Fault[] = [];

  /** `random` is uniform in [0, 1). */
  constructor(faults: Fault[], random: () => number) {
    this.#faults = faults;
    this.#random = random;
  }

  /** Takes the first card that fits; the others stay for later. Null when none does. */
  draw(fits: (fault: Fault) => boolean): Fault | null {
    if (this.#cards.length === 0) this.deal();
    const place = this.#cards.findIndex(fits);
    return place < 0 ? null : (this.#cards.splice(place, 1)[0] ?? null);
  }

  /** Adds a whole deck, for when nothing that is left fits. */
  deal(): void {
    this.#cards.push(...this.#shuffled());
  }

  #shuffled(): Fault[] {
    const cards = this.#faults.flatMap((fault) => Array.from({ length: fault.weight }, () => fault));
    for (let last = cards.length - 1; last > 0; last--) {
      const other = Math.floor(this.#random() * (last + 1));
      const [a, b] = [cards[last], cards[other]];
      if (a === undefined || b === undefined) continue;
      cards[last] = b;
      cards[other] = a;
    }
    return cards;
  }
}
