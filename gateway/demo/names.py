"""What people are called. First and last names are combined within a culture only; nobody here is a real person."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Culture:
    """First names, last names, and how the two make a name: `{other}` is a second last name.

    `hers`: the last names as women bear them, where they differ.
    """

    women: tuple[str, ...]
    men: tuple[str, ...]
    last: tuple[str, ...] = ("", "")
    hers: tuple[str, ...] = ()
    form: str = "{first} {last}"

    def name(self, rng: random.Random, *, woman: bool) -> str:
        last, other = rng.sample(self.hers if woman and self.hers else self.last, 2)
        first = rng.choice(self.women if woman else self.men)
        return self.form.format(first=first, last=last, other=other)


def a_name(rng: random.Random, *, woman: bool) -> str:
    return rng.choice(CULTURES).name(rng, woman=woman)


def _each(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


CULTURES: Final = (
    Culture(  # Hindi, in Devanagari
        _each("आरती, कमला देवी, सुनीता, मीनाक्षी, पूजा, शकुंतला"),
        _each("रमेश, दिनेश कुमार, अर्जुन, विजय, हरिप्रसाद, मोहन"),
        _each("वर्मा, मिश्रा, यादव, चतुर्वेदी, त्रिपाठी, जोशी"),
    ),
    Culture(  # India, as forms in English have it
        _each("Lakshmi, Ananya, Meenakshi, Shobha, Devika"),
        _each("Karthik, Prakash, Suresh Babu, Vikram, Anand"),
        _each("Raman, Iyengar, Deshpande, Kulkarni, Venkataraghavan, Chattopadhyay"),
    ),
    Culture(  # Tamil: a father's initial, then the name
        _each("செல்வி, மலர்விழி, கயல்விழி, தமிழரசி"),
        _each("முருகன், இளங்கோவன், கதிரவன், அன்பழகன்"),
        _each("அ., க., சு., வே."),
        form="{last} {first}",
    ),
    Culture(  # Bengali
        _each("শর্মিষ্ঠা, নাসরিন, রাবেয়া, মৌসুমী"),
        _each("আনোয়ার, সুব্রত, রফিকুল, তপন"),
        _each("চক্রবর্তী, বিশ্বাস, সরকার, তালুকদার"),
    ),
    Culture(  # Arabic
        _each("فاطمة, ليلى, عائشة, نور الهدى, سلمى, زينب"),
        _each("يوسف, عبد الرحمن, خالد, إبراهيم, حسام الدين, طارق"),
        _each("الحداد, النجار, الخطيب, القاضي, البغدادي, الصباغ"),
    ),
    Culture(  # Urdu
        _each("شازیہ, ثمینہ, نگہت, رخسانہ"),
        _each("عمران, شہزاد, ظفر, جاوید"),
        _each("قریشی, انصاری, چوہدری, بھٹہ"),
    ),
    Culture(  # Persian
        _each("شیرین, نیلوفر, پریسا, مهناز"),
        _each("بهرام, کیوان, سیاوش, فرهاد"),
        _each("تهرانی, رستگار, کاشانی, نوروزی"),
    ),
    Culture(  # Chinese: the family comes first, without a space
        _each("美玲, 秀英, 晓燕, 淑芬, 雨桐, 桂花"),
        _each("建国, 志强, 浩然, 文博, 德明, 子轩"),
        _each("陈, 赵, 黄, 周, 欧阳, 司徒"),
        form="{last}{first}",
    ),
    Culture(  # Japanese
        _each("さくら, 由美子, 千代, 美咲, 和子"),
        _each("健太郎, 拓海, 正夫, 大輔, 一郎"),
        _each("小野寺, 長谷川, 中村, 高橋, 五十嵐"),
        form="{last} {first}",
    ),
    Culture(  # Korean
        _each("하윤, 순자, 은주, 서연, 말숙"),
        _each("도윤, 영호, 예준, 상철, 태식"),
        _each("박, 최, 정, 강, 남궁, 황보"),
        form="{last}{first}",
    ),
    Culture(  # Russian, with patronymics
        _each("Анна Петровна, Людмила Ивановна, Ольга Сергеевна, Дарья Олеговна"),
        _each("Борис Николаевич, Пётр Ильич, Геннадий Павлович, Егор Андреевич"),
        _each("Кузнецов, Воробьёв, Лебедев, Белозёров"),
        hers=_each("Кузнецова, Воробьёва, Лебедева, Белозёрова"),
        form="{last} {first}",
    ),
    Culture(  # Ukrainian
        _each("Оксана, Соломія, Ганна, Леся"),
        _each("Тарас, Богдан, Микола, Остап"),
        _each("Шевчук, Коваленко, Бондаренко, Гончаренко"),
    ),
    Culture(  # Hebrew
        _each("תמר, רבקה, נועה, שירה, מרים"),
        _each("אבנר, דוד, איתן, משה, אורי"),
        _each("פרידמן, אוחיון, ביטון, רוזנבלום, בן־חיים"),
    ),
    Culture(  # Thai
        _each("สมหญิง, มาลี, พรทิพย์, กัลยา"),
        _each("สมชาย, ประเสริฐ, วิชัย, ธนากร"),
        _each("ศรีสุวรรณ, ทองดี, รุ่งเรืองกิจเจริญ, วงศ์ประเสริฐ"),
    ),
    Culture(  # Amharic: one's own name, then the father's
        _each("አልማዝ, ሰላማዊት, ብርቱካን, ትዕግስት"),
        _each("ከበደ, ታደሰ, ዳዊት, ሙሉጌታ"),
        _each("ወልደማርያም, ተስፋዬ, አስፋው, ገብረመድኅን"),
    ),
    Culture(  # Armenian
        _each("Անահիտ, Շուշան, Նարինե"),
        _each("Վարդան, Տիգրան, Հակոբ"),
        _each("Հարությունյան, Գրիգորյան, Մելքոնյան"),
    ),
    Culture(  # Georgian
        _each("ნინო, ქეთევანი, თამარი"),
        _each("გიორგი, ლევანი, ზურაბი"),
        _each("ბერიძე, კაპანაძე, ლომიძე"),
    ),
    Culture(  # Greek
        _each("Ελένη, Κατερίνα, Δέσποινα"),
        _each("Γιώργος, Σπύρος, Αναστάσιος"),
        _each("Παπαδόπουλος, Οικονόμου, Καραγιαννόπουλος"),
        hers=_each("Παπαδοπούλου, Οικονόμου, Καραγιαννοπούλου"),
    ),
    Culture(  # Spanish: both parents' names
        _each("María José, Lucía, Guadalupe, Inés, Rosario"),
        _each("José Ángel, Joaquín, Íñigo, Raúl, Martín"),
        _each("Castellanos, Ibáñez, Quiñones, Belmonte, Etxeberria"),
        form="{first} {last} {other}",
    ),
    Culture(  # Portuguese
        _each("Ana Beatriz, Maria da Conceição, Letícia, Graça"),
        _each("João Vítor, Sebastião, Luís Otávio, Tomé"),
        _each("dos Santos, Guimarães, Nascimento, d’Ávila"),
        form="{first} {other} {last}",
    ),
    Culture(  # Vietnamese: the family first, the given name last
        _each("Thị Hương, Ngọc Ánh, Thu Thảo, Bích Ngọc"),
        _each("Quốc Bảo, Đức Thịnh, Hữu Phước, Gia Huy"),
        _each("Nguyễn, Phạm, Đặng, Võ"),
        form="{last} {first}",
    ),
    Culture(  # Indonesian and Javanese: one name is enough
        _each("Wahyuni, Sulastri, Kartika, Ningsih"),
        _each("Sutrisno, Slamet, Wibowo, Mulyadi"),
        form="{first}",
    ),
    Culture(  # Yoruba and Igbo
        _each("Amara, Folasade, Ngozi, Oluwaseun, Yetunde"),
        _each("Chukwuemeka, Babatunde, Oluwatobiloba, Obinna"),
        _each("Okafor, Adeyemi, Onyekachukwu, Balogun"),
    ),
    Culture(  # Swahili
        _each("Neema, Zuhura, Rehema"),
        _each("Baraka, Juma, Rashidi"),
        _each("Mwakyusa, Kimaro, Mbwambo"),
    ),
    Culture(  # German, some of it long
        _each("Friederike, Gisela, Anna-Lena, Maximiliane"),
        _each("Jürgen, Karl-Heinz, Matthäus, Björn"),
        _each("Groß, Müller-Lüdenscheidt, Schönfeld, von und zu Hohenlinden-Rabenstein"),
    ),
    Culture(  # French
        _each("Élise, Maëlle, Anne-Sophie, Françoise"),
        _each("Jean-Baptiste, Loïc, Gaël, Théophile"),
        _each("Moreau, de La Fontenelle, L’Hôte, Kervadec"),
    ),
    Culture(  # Icelandic: a parent's name
        _each("Guðrún, Þórdís, Sigríður"),
        _each("Ægir, Sigurður, Þorsteinn"),
        _each("Einarsson, Hallgrímsson, Þórðarson"),
        hers=_each("Einarsdóttir, Hallgrímsdóttir, Þórðardóttir"),
    ),
    Culture(  # Polish
        _each("Agnieszka, Małgorzata, Zofia"),
        _each("Grzegorz, Zbigniew, Łukasz"),
        _each("Brzęczyszczykowski, Wiśniowski, Żółkiewski"),
        hers=_each("Brzęczyszczykowska, Wiśniowska, Żółkiewska"),
    ),
    Culture(  # Turkish
        _each("Ayşegül, Şükran, İpek"),
        _each("Çağlar, Ömer, İlyas"),
        _each("Yıldızoğlu, Çelikkaya, Gündoğdu"),
    ),
    Culture(  # English and Irish
        _each("Siobhán, Margaret, Zoë, Philippa"),
        _each("Cillian, Alasdair, George, Rhys"),
        _each("O’Sullivan-Byrne, Featherstonehaugh, Ashdown, Pemberton"),
    ),
)
