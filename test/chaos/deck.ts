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

  /** Takes the first card that fits; cards that do not stay for later. Null when none of two decks does. */
  draw(fits: (fault: Fault) => boolean): Fault | null {
    for (let deals = 0; deals < 2; deals++) {
      const place = this.#cards.findIndex(fits);
      if (place >= 0) return this.#cards.splice(place, 1)[0] ?? null;
      this.#cards.push(...this.#shuffled());
    }
    return null;
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
