/** Tables 1 and 2 on needle scenes: the tiny models of three sizes, each after one iteration. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-main-results',
  title: 'P2R against its bases at three tiny sizes',
  cases: {
    small: { model: 'models/tiny-small' },
    middle: { model: 'models/tiny' },
    large: { model: 'models/tiny-large' },
  },
});
